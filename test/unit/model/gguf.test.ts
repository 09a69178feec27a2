import { describe, expect, test } from "@jest/globals";
import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { loadModel, type Model } from "../../../src/model/model.ts";
import { planRandomCheckpoint } from "../../../src/model/random-checkpoint.ts";
import { materialiseWeight } from "../../../src/shards/weight.ts";
import { useTemporaryDirectory } from "../../support/temporary-directory.ts";
import { TINY_LLAMA as LLAMA, writeCheckpoint } from "../../support/write-checkpoint.ts";
import { ggufMetadata, readFloatTensors, writeGgufModel, writeSplitGgufModel } from "../../support/write-gguf-model.ts";
import { float32Tensor, writeGguf } from "../../support/write-gguf.ts";
import { writeSafetensors } from "../../support/write-safetensors.ts";
import { readFileRange } from "../shards/support.ts";

const root = useTemporaryDirectory();
/** GGUF keeps float32 numbers. */
const TINY_LLAMA = { ...LLAMA, rms_norm_eps: 2 ** -20 };

/** A directory with a checkpoint, and the same model as a file in it. */
async function writeBoth(
  config: Readonly<Record<string, unknown>>,
  more = {},
): Promise<{ directory: string; file: string }> {
  const directory = mkdtempSync(join(root, "model-"));
  const file = join(directory, "tiny.gguf");
  writeCheckpoint(directory, { config });
  await writeGgufModel(directory, file, more);
  return { directory, file };
}

function weightsOf({ graph }: Model): Record<string, unknown> {
  const weights = [...graph.weights.values()].map((weight) => {
    const { data } = materialiseWeight(weight, readFileRange);
    return [weight.name, Buffer.from(data).toString("base64")];
  });
  return Object.fromEntries(weights) as Record<string, unknown>;
}

describe("the same model in both formats", () => {
  test.each([
    ["heads of 8, two tables", TINY_LLAMA],
    [
      "several key/value heads, head_dim apart, another theta",
      { ...TINY_LLAMA, num_attention_heads: 4, num_key_value_heads: 2, head_dim: 12, rope_theta: 100000 },
    ],
    ["one table, biases", { ...TINY_LLAMA, tie_word_embeddings: true, attention_bias: true }],
  ])("%s", async (_, config) => {
    const { directory, file } = await writeBoth(config);
    const [expected, model] = [await loadModel(directory), await loadModel(file)];
    expect(model.config).toEqual(expected.config);
    expect(model.graph.nodes).toEqual(expected.graph.nodes);
    expect(weightsOf(model)).toEqual(weightsOf(expected));
    expect(model.family).toBe("llama");
    expect(model.generationConfig).toEqual(expected.generationConfig);
    expect(model).toMatchObject({ directory: file, files: [file] });
    expect(model.tokenizer.isAvailable).toBe(false);
    expect(() => model.tokenizer.encode("a")).toThrow(
      `"${file}" has no tokenizer in its metadata, so the model has no text: pass and read token ids, or convert it again.`,
    );
  });

  const sizes = { ...TINY_LLAMA, architectures: [], head_dim: 8, rope_theta: 10000 };
  test.each<[string, Record<string, unknown>]>([
    ["mistral", { sliding_window: 24 }],
    ["qwen2", { tie_word_embeddings: true }],
    ["qwen3", {}],
    ["gemma", { tie_word_embeddings: true }],
    [
      "gemma2",
      { tie_word_embeddings: true, sliding_window: 24, query_pre_attn_scalar: 8, final_logit_softcapping: 20 },
    ],
    ["gemma3_text", { tie_word_embeddings: true, sliding_window: 24, query_pre_attn_scalar: 8, num_hidden_layers: 7 }],
    ["phi3", { sliding_window: null }],
  ])("%s", async (modelType, more) => {
    const directory = mkdtempSync(join(root, "family-"));
    const file = join(directory, "tiny.gguf");
    planRandomCheckpoint(directory, { ...sizes, model_type: modelType, ...more }).write(directory);
    writeSafetensors(join(directory, "model.safetensors"), await readFloatTensors(directory));
    await writeGgufModel(directory, file);
    const [expected, model] = [await loadModel(directory), await loadModel(file)];
    expect(model.family).toBe(modelType);
    expect(model.config).toEqual(expected.config);
    expect(model.graph.nodes).toEqual(expected.graph.nodes);
    expect(weightsOf(model)).toEqual(weightsOf(expected));
  });

  test("factors of the rotary frequencies, in place of the scaling that Llama 3 names", async () => {
    const { directory, file } = await writeBoth(TINY_LLAMA);
    const plain = await loadModel(file);
    const factors = Float32Array.of(1, 2, 4, 8);
    const scaled = join(directory, "scaled.gguf");
    await writeGgufModel(directory, scaled, {}, [float32Tensor("rope_freqs.weight", [4], factors)]);
    const tables = (model: Model): Float32Array =>
      new Float32Array(materialiseWeight(model.graph.weights.get("rotary.cos")!, readFileRange).data.slice().buffer);
    const width = factors.length;
    const [before, after] = [tables(plain), tables(await loadModel(scaled))];
    // Position 8 turns a pair as far as position 8 / factor did.
    factors.forEach((factor, pair) => {
      expect(after[8 * width + pair]).toBeCloseTo(before[(8 / factor) * width + pair]!, 6);
    });
  });

  test("every token that ends a turn ends a text", async () => {
    const { file } = await writeBoth(TINY_LLAMA, {
      "tokenizer.ggml.eot_token_id": 5,
      "tokenizer.ggml.eom_token_id": 2,
    });
    expect((await loadModel(file)).generationConfig.eosTokenIds).toEqual([2, 5]);
  });

  test("linear rope scaling", async () => {
    const { directory } = await writeBoth({ ...TINY_LLAMA, rope_scaling: { rope_type: "linear", factor: 4 } });
    const { file } = await writeBoth(TINY_LLAMA, {
      "llama.rope.scaling.type": "linear",
      "llama.rope.scaling.factor": 4,
    });
    expect(weightsOf(await loadModel(file))).toEqual(weightsOf(await loadModel(directory)));
  });
});

describe("a model in several files", () => {
  async function writeParts(): Promise<{ directory: string; parts: [string, string] }> {
    const { directory } = await writeBoth(TINY_LLAMA);
    return { directory, parts: await writeSplitGgufModel(directory, join(directory, "tiny")) };
  }

  test("is read whole by the name of any part", async () => {
    const { directory, parts } = await writeParts();
    const expected = weightsOf(await loadModel(directory));
    for (const part of parts) {
      const model = await loadModel(part);
      expect(weightsOf(model)).toEqual(expected);
      expect(model.files).toEqual(parts);
    }
  });

  test("a part that is missing", async () => {
    const { parts } = await writeParts();
    rmSync(parts[1]);
    await expect(loadModel(parts[0])).rejects.toThrow(
      `"${parts[1]}" is missing beside "${parts[0]}": download all 2 parts of the model.`,
    );
  });

  test("a part under another name", async () => {
    const { directory, parts } = await writeParts();
    const renamed = join(directory, "renamed.gguf");
    renameSync(parts[1], renamed);
    await expect(loadModel(renamed)).rejects.toThrow(
      `"${renamed}" is part 2 of a model in 2 files, but its name says part 1 of 1. ` +
        "Give the files back the names NAME-00001-of-0000N.gguf.",
    );
  });
});

describe("what is refused", () => {
  test("rotary factors that are not one for each frequency", async () => {
    const { directory } = await writeBoth(TINY_LLAMA);
    const file = join(directory, "scaled.gguf");
    await writeGgufModel(directory, file, {}, [float32Tensor("rope_freqs.weight", [3], new Float32Array(3))]);
    await expect(loadModel(file)).rejects.toThrow(
      `"rope_scaling.factors" in "${file}": expected a list of 4 numbers above 0, received [0,0,0].`,
    );
    await writeGgufModel(directory, file, {}, [float32Tensor("rope_freqs.weight", [3, 1], new Float32Array(3))]);
    await expect(loadModel(file)).rejects.toThrow(
      `Tensor "rope_freqs.weight" [3, 1] F32 in "${file}": expected a list of at most 8192 F32 numbers. Convert it again.`,
    );
  });

  test("another architecture", async () => {
    const { file } = await writeBoth(TINY_LLAMA, { "general.architecture": "mamba" });
    await expect(loadModel(file)).rejects.toThrow(
      `"general.architecture" in "${file}": expected one of "llama", "qwen2", "qwen3", "gemma", "gemma2", "gemma3", "phi3", received "mamba".`,
    );
  });

  test.each([
    [
      { "llama.expert_count": 8 },
      '"llama.expert_count": 8 in "FILE" is not supported: mixtures of experts are not there yet.',
    ],
    [
      { "llama.rope.dimension_count": 4 },
      '"llama.rope.dimension_count": 4 in "FILE" is not supported: heads of 8 are turned as a whole.',
    ],
    [
      { "llama.rope.scaling.type": "yarn" },
      '"llama.rope.scaling.type" in "FILE": expected one of "none", "linear", received "yarn".',
    ],
    [{ "llama.block_count": 0 }, '"llama.block_count" in "FILE": expected an integer of at least 1, received 0.'],
    [
      { "llama.feed_forward_length": 21 },
      'Tensor "blk.0.ffn_gate.weight" in "FILE" has shape [20, 24], but its metadata implies [21, 24]. ' +
        "Check that its metadata and the weights are of the same model.",
    ],
    [
      { "llama.block_count": 1 },
      'Tensor "blk.1.attn_norm.weight" in "FILE" has no place in the model that its metadata describes ' +
        "(9 such tensors). Check that its metadata and the weights are of the same model.",
    ],
  ])("%j", async (more, message) => {
    const { file } = await writeBoth(TINY_LLAMA, more);
    await expect(loadModel(file)).rejects.toThrow(message.replace("FILE", file));
  });

  test("a tensor of a type that cannot be read", async () => {
    const file = join(root, "unreadable.gguf");
    const table = { name: "token_embd.weight", shape: [40, 256], type: 10, bytes: new Uint8Array(40 * 84) };
    writeGguf(file, { metadata: { ...ggufMetadata(TINY_LLAMA), "llama.embedding_length": 256 }, tensors: [table] });
    await expect(loadModel(file)).rejects.toThrow(
      `Tensor "token_embd.weight" in "${file}" is stored as Q2_K; supported are ` +
        "F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K, Q6_K. Convert the checkpoint to one of them.",
    );
  });

  test("a file that is neither a directory nor GGUF", async () => {
    const file = join(root, "notes.txt");
    writeFileSync(file, "notes");
    await expect(loadModel(file)).rejects.toThrow(
      `Reading "${file}" failed: it does not begin with "GGUF", so it is no GGUF file. Pass the directory of a checkpoint, or a GGUF file.`,
    );
  });
});
