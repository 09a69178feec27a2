import { describe, expect, test } from "@jest/globals";
import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ModelError } from "../../../src/errors.ts";
import { openCheckpoint, type FileSource } from "../../../src/model/checkpoint.ts";
import { useTemporaryDirectory } from "../../support/temporary-directory.ts";
import { TINY_LLAMA, writeCheckpoint } from "../../support/write-checkpoint.ts";
import { writeRawSafetensors, writeSafetensors } from "../../support/write-safetensors.ts";

const root = useTemporaryDirectory();
const newDirectory = (): string => mkdtempSync(join(root, "checkpoint-"));
const modelError = (message: string) => ({ code: "ERR_SHARDRUN_MODEL", message });

/** A directory with one tensor "a" [2, 3]. */
function writeOneTensor(): { directory: string; file: string } {
  const directory = newDirectory();
  const file = join(directory, "model.safetensors");
  writeSafetensors(file, [{ name: "a", shape: [2, 3], values: new Float32Array(6) }], "F16");
  return { directory, file };
}

describe("finding tensors", () => {
  test("by name and shape", async () => {
    const { directory, file } = writeOneTensor();
    const checkpoint = await openCheckpoint(directory);
    expect(checkpoint.has("a")).toBe(true);
    expect(checkpoint.has("b")).toBe(false);
    expect(checkpoint.tensor("a", [2, 3])).toEqual({
      kind: "file",
      file,
      offset: statSync(file).size - 12,
      dataType: "float16",
      shape: [2, 3],
    });
  });

  test("in several files", async () => {
    const [single, sharded] = [newDirectory(), newDirectory()];
    writeCheckpoint(single, { config: TINY_LLAMA });
    writeCheckpoint(sharded, { config: TINY_LLAMA, numFiles: 3 });
    const whole = await openCheckpoint(single);
    const parts = await openCheckpoint(sharded);
    const files = ["model.embed_tokens.weight", "model.layers.0.mlp.down_proj.weight", "lm_head.weight"].map((name) => {
      const shape = name.includes("down") ? [24, 20] : [40, 24];
      expect(whole.tensor(name, shape)).toMatchObject({ dataType: "float32", shape });
      return (parts.tensor(name, shape) as FileSource).file;
    });
    expect(files).toEqual([1, 2, 3].map((n) => join(sharded, `model-0000${n}-of-00003.safetensors`)));
  });

  test("a prefix is left out only where the checkpoint leaves it out", async () => {
    const [withPrefix, without] = [newDirectory(), newDirectory()];
    writeCheckpoint(withPrefix, { config: TINY_LLAMA });
    writeCheckpoint(without, { config: TINY_LLAMA, prefix: false });
    expect((await openCheckpoint(withPrefix)).prefixOf("norm.weight", "model.")).toBe("model.");
    expect((await openCheckpoint(without)).prefixOf("norm.weight", "model.")).toBe("");
    expect((await openCheckpoint(without)).prefixOf("no such tensor", "model.")).toBe("model.");
  });
});

describe("weights that disagree with config.json", () => {
  test("a tensor that is missing", async () => {
    const { directory } = writeOneTensor();
    const checkpoint = await openCheckpoint(directory);
    expect(() => checkpoint.tensor("b", [5, 6])).toThrow(
      new ModelError(
        `Tensor "b" [5, 6], which config.json implies, is missing from the checkpoint "${directory}" (1 tensors). ` +
          "Check that config.json and the weights are of the same model.",
      ),
    );
  });

  test("a tensor of another shape", async () => {
    const { directory, file } = writeOneTensor();
    const checkpoint = await openCheckpoint(directory);
    expect(() => checkpoint.tensor("a", [3, 2])).toThrow(
      new ModelError(
        `Tensor "a" in "${file}" has shape [2, 3], but config.json implies [3, 2]. ` +
          "Check that config.json and the weights are of the same model.",
      ),
    );
  });

  test("a tensor of a data type that is not supported", async () => {
    const directory = newDirectory();
    const file = join(directory, "model.safetensors");
    writeRawSafetensors(file, '{"a":{"dtype":"I8","shape":[2],"data_offsets":[0,2]}}', new Uint8Array(2));
    const checkpoint = await openCheckpoint(directory);
    expect(() => checkpoint.tensor("a", [2])).toThrow(
      new ModelError(
        `Tensor "a" in "${file}" is stored as I8; supported are F32, F16, BF16. Convert the checkpoint to one of them.`,
      ),
    );
  });

  test("tensors that nobody asks for", async () => {
    const { directory, file } = writeOneTensor();
    const checkpoint = await openCheckpoint(directory);
    expect(() => checkpoint.refuseUnused(/b/)).toThrow(
      new ModelError(
        `Tensor "a" in "${file}" has no place in the model that config.json describes (1 such tensors). ` +
          "Check that config.json and the weights are of the same model.",
      ),
    );
    checkpoint.refuseUnused(/a/);
    checkpoint.tensor("a", [2, 3]);
    checkpoint.refuseUnused(/b/);
  });
});

describe("directories without usable weights", () => {
  test("no weights at all", async () => {
    const directory = newDirectory();
    await expect(openCheckpoint(directory)).rejects.toMatchObject(
      modelError(
        `Model directory "${directory}" holds no weights: expected model.safetensors or model.safetensors.index.json.`,
      ),
    );
  });

  test("weights of another format", async () => {
    const directory = newDirectory();
    writeFileSync(join(directory, "pytorch_model.bin"), "");
    await expect(openCheckpoint(directory)).rejects.toMatchObject(
      modelError(
        `Model directory "${directory}" holds no weights: expected model.safetensors or model.safetensors.index.json. ` +
          "It holds pytorch_model.bin: convert them to safetensors.",
      ),
    );
  });
});

describe("a damaged index", () => {
  const writeIndex = (directory: string, index: unknown): string => {
    const file = join(directory, "model.safetensors.index.json");
    writeFileSync(file, JSON.stringify(index));
    return file;
  };

  test("a shard that is missing", async () => {
    const directory = newDirectory();
    writeCheckpoint(directory, { config: TINY_LLAMA, numFiles: 2 });
    const shard = join(directory, "model-00002-of-00002.safetensors");
    rmSync(shard);
    const index = join(directory, "model.safetensors.index.json");
    await expect(openCheckpoint(directory)).rejects.toMatchObject(
      modelError(`"${shard}", which "${index}" lists, does not exist: download the missing shard.`),
    );
  });

  test("a tensor that is not where the index says", async () => {
    const directory = newDirectory();
    const shard = join(directory, "part.safetensors");
    writeSafetensors(shard, [{ name: "a", shape: [1], values: new Float32Array(1) }]);
    const index = writeIndex(directory, { weight_map: { b: "part.safetensors" } });
    await expect(openCheckpoint(directory)).rejects.toMatchObject(
      modelError(`Tensor "b" is not in "${shard}", where "${index}" says it is. Download the checkpoint again.`),
    );
  });

  test("no weight_map", async () => {
    const directory = newDirectory();
    const index = writeIndex(directory, { weight_map: [] });
    await expect(openCheckpoint(directory)).rejects.toMatchObject(
      modelError(`Reading "${index}" failed: it has no "weight_map" of tensors to files.`),
    );
  });

  test.each(["../outside.safetensors", "/etc/passwd", "..", 5])(
    "a file that is not beside the index: %p",
    async (shard) => {
      const directory = newDirectory();
      const index = writeIndex(directory, { weight_map: { a: shard } });
      await expect(openCheckpoint(directory)).rejects.toMatchObject(
        modelError(
          `Reading "${index}" failed: tensor "a" lies in ${JSON.stringify(shard)}, expected the name of a .safetensors file beside the index.`,
        ),
      );
    },
  );
});
