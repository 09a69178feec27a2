/** Files of a model directory with mistakes in them: each is understood, or refused in words; no range outside a file is ever believed. */
import { cpSync, readFileSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import fc from "fast-check";
import { ModelError } from "../../../src/errors.ts";
import { openCheckpoint } from "../../../src/model/checkpoint.ts";
import { loadModel } from "../../../src/model/model.ts";
import { readSafetensorsHeader, type StoredTensor } from "../../../src/model/safetensors.ts";
import { MAX_JSON_BYTES } from "../../../src/model/settings.ts";
import { Tokenizer } from "../../../src/model/tokenizer.ts";
import { directoryTokenizer } from "../../../src/model/tokenizer-source.ts";
import { damagedJson, damagedText, fuzzParameters, understandOrRefuse } from "../../support/fuzz.ts";
import { useTemporaryDirectory } from "../../support/temporary-directory.ts";
import { writeRawSafetensors } from "../../support/write-safetensors.ts";

const MODEL = join(import.meta.dirname, "../../../models/demo-stories");
/** Each case is written to disk, which takes its time. */
const FILE_SHARE = 0.1;
const directory = useTemporaryDirectory();

/** A copy of the bundled model, for one test to damage. */
function copyModel(name: string): string {
  const copy = join(directory, name);
  cpSync(MODEL, copy, { recursive: true });
  return copy;
}

function readText(name: string): string {
  return readFileSync(join(MODEL, name), "utf8");
}

function damaged(text: string): fc.Arbitrary<string> {
  return fc.oneof(damagedText(text), damagedJson(JSON.parse(text)));
}

function expectInside(tensors: Iterable<StoredTensor>, fileBytes: number): void {
  for (const { offset, numBytes } of tensors) {
    expect(offset).toBeGreaterThanOrEqual(8);
    expect(numBytes).toBeGreaterThanOrEqual(0);
    expect(offset + numBytes).toBeLessThanOrEqual(fileBytes);
  }
}

test("safetensors headers", async () => {
  const original = readFileSync(join(MODEL, "model.safetensors"));
  const headerEnd = 8 + Number(original.readBigUInt64LE());
  const { __metadata__, ...tensors } = JSON.parse(original.toString("utf8", 8, headerEnd)) as Record<string, unknown>;
  // The first three tensors are enough to go wrong, and quick to write.
  const [first, second, third] = Object.entries(tensors).sort(([, a], [, b]) => beginOf(a) - beginOf(b));
  const header = JSON.stringify({ __metadata__, ...Object.fromEntries([first!, second!, third!]) });
  const data = original.subarray(headerEnd, headerEnd + endOf(third![1]));
  const file = join(directory, "model.safetensors");
  await fc.assert(
    fc.asyncProperty(damaged(header), fc.option(fc.bigInt(0n, 2n ** 64n - 1n)), async (text, claimedLength) => {
      writeRawSafetensors(file, text, data, claimedLength ?? undefined);
      const found = await understandOrRefuse(() => readSafetensorsHeader(file));
      if (found !== undefined) expectInside(found.values(), statSync(file).size);
    }),
    fuzzParameters(FILE_SHARE),
  );
});

test("model.safetensors.index.json", async () => {
  const checkpoint = join(directory, "sharded");
  cpSync(MODEL, checkpoint, { recursive: true, filter: (path) => !path.endsWith("model.safetensors") });
  const shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
  const tensor = { dtype: "F32", shape: [1], data_offsets: [0, 4] };
  for (const [index, shard] of shards.entries()) {
    writeRawSafetensors(join(checkpoint, shard), JSON.stringify({ [`tensor.${index}`]: tensor }), new Uint8Array(4));
  }
  const index = { metadata: { total_size: 8 }, weight_map: { "tensor.0": shards[0], "tensor.1": shards[1] } };
  await fc.assert(
    fc.asyncProperty(damaged(JSON.stringify(index)), async (text) => {
      writeFileSync(join(checkpoint, "model.safetensors.index.json"), text);
      const opened = await understandOrRefuse(() => openCheckpoint(checkpoint));
      if (opened?.has("tensor.0") === true) expect(opened.tensor("tensor.0", [1])).toMatchObject({ offset: 69 });
    }),
    fuzzParameters(FILE_SHARE),
  );
});

test.each(["config.json", "generation_config.json"])("%s", async (name) => {
  const model = copyModel(name);
  await fc.assert(
    fc.asyncProperty(damaged(readText(name)), async (text) => {
      writeFileSync(join(model, name), text);
      const loaded = await understandOrRefuse(() => loadModel(model, { maxContext: 64 }));
      // What is taken in fits the weights.
      if (loaded !== undefined) expect(loaded.config).toMatchObject({ hiddenSize: 96, vocabSize: 576 });
    }),
    fuzzParameters(FILE_SHARE),
  );
});

test.each(["tokenizer.json", "tokenizer_config.json"])("%s", async (name) => {
  const model = copyModel(name);
  await fc.assert(
    fc.asyncProperty(damaged(readText(name)), fc.string(), async (text, prompt) => {
      writeFileSync(join(model, name), text);
      const tokenizer = new Tokenizer(directoryTokenizer(model));
      const ids = await understandOrRefuse(() => tokenizer.encode(prompt));
      if (ids !== undefined) await understandOrRefuse(() => tokenizer.decode(ids));
    }),
    fuzzParameters(FILE_SHARE),
  );
});

test.each([2 ** 31, 2 ** 40])("heads of %i elements are refused at once", async (headDim) => {
  const model = copyModel("heads");
  const config = JSON.parse(readText("config.json")) as Record<string, unknown>;
  writeFileSync(join(model, "config.json"), JSON.stringify({ ...config, head_dim: headDim }));
  await expect(loadModel(model)).rejects.toThrow(
    new ModelError(`Heads of size ${headDim}: expected at most 16384. Check config.json.`),
  );
});

test("a JSON file of more than 256 MiB is not read", async () => {
  const model = copyModel("large");
  const file = join(model, "config.json");
  truncateSync(file, MAX_JSON_BYTES + 1);
  await expect(loadModel(model)).rejects.toMatchObject({
    code: "ERR_SHARDRUN_MODEL",
    message: `Reading "${file}" failed: it has 268435457 bytes, more than the 268435456 that are read.`,
  });
});

test("a tensor with a hundred thousand axes is refused at once", async () => {
  const file = join(directory, "axes.safetensors");
  const shape = new Array<number>(100_000).fill(Number.MAX_SAFE_INTEGER);
  writeRawSafetensors(file, JSON.stringify({ a: { dtype: "F32", shape, data_offsets: [0, 0] } }), new Uint8Array());
  await expect(readSafetensorsHeader(file)).rejects.toThrow(
    new ModelError(
      `Reading "${file}" failed: tensor "a" has 100000 axes, more than the 64 that a tensor can have. ` +
        "The file is damaged or truncated: download or convert it again.",
    ),
  );
});

test("a header with a text of many megabytes is read", async () => {
  const file = join(directory, "long.safetensors");
  writeRawSafetensors(file, `{"__metadata__":{"note":"${"\\n".repeat(10_000_000)}"}}`, new Uint8Array());
  expect((await readSafetensorsHeader(file)).size).toBe(0);
});

function beginOf(entry: unknown): number {
  return (entry as { data_offsets: [number, number] }).data_offsets[0];
}

function endOf(entry: unknown): number {
  return (entry as { data_offsets: [number, number] }).data_offsets[1];
}
