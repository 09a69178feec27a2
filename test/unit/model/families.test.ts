import { describe, expect, test } from "@jest/globals";
import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import { InternalError, ModelError, UsageError } from "../../../src/errors.ts";
import { openCheckpoint, type FileSource } from "../../../src/model/checkpoint.ts";
import type { Graph } from "../../../src/model/graph.ts";
import { GraphBuilder } from "../../../src/model/graph-builder.ts";
import { loadModel, type Model } from "../../../src/model/model.ts";
import { useTemporaryDirectory } from "../../support/temporary-directory.ts";
import {
  makeTensors,
  TINY_GPT2,
  TINY_LLAMA,
  writeCheckpoint,
  writeConfig,
  type CheckpointOptions,
} from "../../support/write-checkpoint.ts";
import { writeSafetensors } from "../../support/write-safetensors.ts";

const root = useTemporaryDirectory();

function write(options: CheckpointOptions): string {
  const directory = mkdtempSync(join(root, "model-"));
  writeCheckpoint(directory, options);
  return directory;
}

const load = (options: CheckpointOptions): Promise<Model> => loadModel(write(options));

/** Nodes as "name: Op(inputs)". */
const print = (graph: Graph): string[] =>
  graph.nodes.map(({ name, opType, inputs }) => `${name}: ${opType}(${inputs.join(", ")})`);

const shapeOf = (model: Model, weight: string): readonly number[] | undefined => model.graph.weights.get(weight)?.shape;

/** Every value is made before it is used, once. */
function expectWellFormed({ graph }: Model): void {
  const known = new Set(["", ...graph.inputs.map(({ name }) => name), ...graph.weights.keys()]);
  for (const { name, inputs, outputs } of graph.nodes) {
    for (const input of inputs) expect({ name, input, isKnown: known.has(input) }).toMatchObject({ isKnown: true });
    for (const output of outputs.filter((value) => value !== "")) {
      expect({ output, isNew: !known.has(output) }).toMatchObject({ isNew: true });
      known.add(output);
    }
  }
  for (const { name } of graph.outputs) expect(known).toContain(name);
  expect(new Set(graph.nodes.map(({ name }) => name)).size).toBe(graph.nodes.length);
}

describe("llama", () => {
  test("one layer after another, in the order of the token", async () => {
    const model = await load({ config: { ...TINY_LLAMA, num_hidden_layers: 1 } });
    expectWellFormed(model);
    expect(print(model.graph)).toEqual([
      "embed_tokens: Gather(model.embed_tokens.weight, input_ids)",
      "layers.0.input_layernorm: SimplifiedLayerNormalization(embed_tokens, model.layers.0.input_layernorm.weight)",
      "layers.0.qkv_proj: FusedMatMul(layers.0.input_layernorm, model.layers.0.self_attn.qkv_proj.weight)",
      "layers.0.attention: GroupQueryAttention(layers.0.qkv_proj, , , past_key_values.0.key, past_key_values.0.value, " +
        "seqlens_k, total_sequence_length, rotary.cos, rotary.sin)",
      "layers.0.attention.wanted: Gather(layers.0.attention, logits_positions)",
      "layers.0.o_proj: FusedMatMul(layers.0.attention.wanted, model.layers.0.self_attn.o_proj.weight)",
      "embed_tokens.wanted: Gather(embed_tokens, logits_positions)",
      "layers.0.post_attention_layernorm: SkipSimplifiedLayerNormalization(layers.0.o_proj, embed_tokens.wanted, " +
        "model.layers.0.post_attention_layernorm.weight)",
      "layers.0.gate_up_proj: FusedMatMul(layers.0.post_attention_layernorm, model.layers.0.mlp.gate_up_proj.weight)",
      "layers.0.split_gate_up: Split(layers.0.gate_up_proj, layers.0.split_gate_up.sizes)",
      "layers.0.activation: QuickGelu(layers.0.gate)",
      "layers.0.gated: Mul(layers.0.activation, layers.0.up)",
      "layers.0.down_proj: FusedMatMul(layers.0.gated, model.layers.0.mlp.down_proj.weight)",
      "norm: SkipSimplifiedLayerNormalization(layers.0.down_proj, layers.0.post_attention_layernorm.residual, model.norm.weight)",
      "lm_head: FusedMatMul(hidden_states, lm_head.weight)",
    ]);
  });

  test("inputs, outputs and cache", async () => {
    const { graph, cache, config, family } = await load({ config: { ...TINY_LLAMA, num_hidden_layers: 1 } });
    expect(family).toBe("llama");
    expect(config).toEqual({
      vocabSize: 40,
      hiddenSize: 24,
      intermediateSize: 20,
      numHiddenLayers: 1,
      numAttentionHeads: 3,
      numKeyValueHeads: 1,
      headDim: 8,
      maxPositions: 64,
    });
    expect(graph.inputs).toEqual([
      { name: "input_ids", dataType: "int64", shape: ["B", "S"] },
      { name: "seqlens_k", dataType: "int32", shape: ["B"] },
      { name: "total_sequence_length", dataType: "int32", shape: [] },
      { name: "logits_positions", dataType: "int64", shape: ["M"] },
      { name: "past_key_values.0.key", dataType: "float32", shape: ["B", 1, "T", 8] },
      { name: "past_key_values.0.value", dataType: "float32", shape: ["B", 1, "T", 8] },
    ]);
    expect(graph.outputs).toEqual([
      { name: "logits", dataType: "float32", shape: ["B", "M", 40] },
      { name: "hidden_states", dataType: "float32", shape: ["B", "M", 24] },
      { name: "present.0.key", dataType: "float32", shape: ["B", 1, "T", 8] },
      { name: "present.0.value", dataType: "float32", shape: ["B", 1, "T", 8] },
    ]);
    expect(cache).toEqual([
      { past: "past_key_values.0.key", present: "present.0.key", numHeads: 1, headDim: 8 },
      { past: "past_key_values.0.value", present: "present.0.value", numHeads: 1, headDim: 8 },
    ]);
  });

  test("attention: heads, scale, rotary positions", async () => {
    const { graph } = await load({ config: { ...TINY_LLAMA, head_dim: 12 } });
    expect(graph.nodes.find(({ opType }) => opType === "GroupQueryAttention")!.attributes).toEqual({
      num_heads: { kind: "int", value: 3 },
      kv_num_heads: { kind: "int", value: 1 },
      scale: { kind: "float", value: 1 / Math.sqrt(12) },
      do_rotary: { kind: "int", value: 1 },
    });
  });

  test("heads of a size of their own, of which a part is turned", async () => {
    const model = await load({ config: { ...TINY_LLAMA, head_dim: 12, partial_rotary_factor: 0.5 } });
    expect(shapeOf(model, "model.layers.1.self_attn.qkv_proj.weight")).toEqual([5 * 12, 24]);
    expect(shapeOf(model, "model.layers.1.self_attn.o_proj.weight")).toEqual([24, 3 * 12]);
    expect(shapeOf(model, "rotary.cos")).toEqual([64, 3]);
  });

  test("matrices are mapped as they are", async () => {
    const { graph } = await load({ config: { ...TINY_LLAMA, head_dim: 16 } });
    expect(graph.weights.get("model.layers.0.self_attn.o_proj.weight")!.source).toMatchObject({ kind: "file" });
    expect(graph.weights.get("model.layers.0.self_attn.qkv_proj.weight")!.source).toMatchObject({
      kind: "concat",
      axis: 0,
      parts: [{ shape: [48, 24] }, { shape: [16, 24] }, { shape: [16, 24] }],
    });
  });

  test("biases of attention and feed-forward", async () => {
    const model = await load({ config: { ...TINY_LLAMA, num_hidden_layers: 1, attention_bias: true, mlp_bias: true } });
    expectWellFormed(model);
    expect(print(model.graph).filter((line) => line.includes("Add("))).toEqual([
      "layers.0.qkv_proj.add_bias: Add(layers.0.qkv_proj, model.layers.0.self_attn.qkv_proj.bias)",
      "layers.0.o_proj.add_bias: Add(layers.0.o_proj, model.layers.0.self_attn.o_proj.bias)",
      "layers.0.gate_up_proj.add_bias: Add(layers.0.gate_up_proj, model.layers.0.mlp.gate_up_proj.bias)",
      "layers.0.down_proj.add_bias: Add(layers.0.down_proj, model.layers.0.mlp.down_proj.bias)",
    ]);
    expect(shapeOf(model, "model.layers.0.self_attn.qkv_proj.bias")).toEqual([5 * 8]);
  });

  test.each<[string, Record<string, unknown>, (file: string) => string]>([
    [
      "another activation",
      { hidden_act: "tanh" },
      (file) =>
        `"hidden_act" in "${file}": expected one of "silu", "gelu", "gelu_new", "gelu_pytorch_tanh", "relu", received "tanh".`,
    ],
    [
      "heads that do not divide",
      { num_key_value_heads: 2 },
      (file) => `"num_attention_heads" 3 in "${file}" must be a multiple of "num_key_value_heads" 2.`,
    ],
    ["odd heads", { head_dim: 7 }, (file) => `Heads of size 7 in "${file}": rotary positions need an even size.`],
    [
      "hidden size that heads do not divide",
      { num_attention_heads: 5 },
      (file) =>
        `"hidden_size" 24 in "${file}" must be a multiple of "num_attention_heads" 5, or "head_dim" must be given.`,
    ],
  ])("refuses %s", async (_, change, message) => {
    const directory = write({ config: TINY_LLAMA });
    writeConfig(directory, { ...TINY_LLAMA, ...change });
    await expect(loadModel(directory)).rejects.toThrow(new ModelError(message(join(directory, "config.json"))));
  });

  test("layers that config.json does not count are not left out silently", async () => {
    const directory = write({ config: TINY_LLAMA });
    writeConfig(directory, { ...TINY_LLAMA, num_hidden_layers: 1 });
    await expect(loadModel(directory)).rejects.toThrow(
      new ModelError(
        `Tensor "model.layers.1.input_layernorm.weight" in "${join(directory, "model.safetensors")}" has no place in the model ` +
          "that config.json describes (9 such tensors). Check that config.json and the weights are of the same model.",
      ),
    );
  });
});

describe("gpt2", () => {
  test("one layer after another, in the order of the token", async () => {
    const model = await load({ config: { ...TINY_GPT2, n_layer: 1 } });
    expectWellFormed(model);
    expect(print(model.graph)).toEqual([
      "wte: Gather(transformer.wte.weight, input_ids)",
      "wpe: Gather(transformer.wpe.weight, position_ids)",
      "h.0.ln_1: SkipLayerNormalization(wte, wpe, transformer.h.0.ln_1.weight, transformer.h.0.ln_1.bias)",
      "h.0.c_attn: MatMul(h.0.ln_1, transformer.h.0.attn.c_attn.weight)",
      "h.0.c_attn.add_bias: Add(h.0.c_attn, transformer.h.0.attn.c_attn.bias)",
      "h.0.attention: GroupQueryAttention(h.0.c_attn.add_bias, , , past_key_values.0.key, past_key_values.0.value, " +
        "seqlens_k, total_sequence_length)",
      "h.0.attention.wanted: Gather(h.0.attention, logits_positions)",
      "h.0.attn.c_proj: MatMul(h.0.attention.wanted, transformer.h.0.attn.c_proj.weight)",
      "h.0.attn.c_proj.add_bias: Add(h.0.attn.c_proj, transformer.h.0.attn.c_proj.bias)",
      "h.0.ln_1.residual.wanted: Gather(h.0.ln_1.residual, logits_positions)",
      "h.0.ln_2: SkipLayerNormalization(h.0.attn.c_proj.add_bias, h.0.ln_1.residual.wanted, " +
        "transformer.h.0.ln_2.weight, transformer.h.0.ln_2.bias)",
      "h.0.mlp.c_fc: MatMul(h.0.ln_2, transformer.h.0.mlp.c_fc.weight)",
      "h.0.mlp.c_fc.add_bias: Add(h.0.mlp.c_fc, transformer.h.0.mlp.c_fc.bias)",
      "h.0.mlp.activation: Gelu(h.0.mlp.c_fc.add_bias)",
      "h.0.mlp.c_proj: MatMul(h.0.mlp.activation, transformer.h.0.mlp.c_proj.weight)",
      "h.0.mlp.c_proj.add_bias: Add(h.0.mlp.c_proj, transformer.h.0.mlp.c_proj.bias)",
      "ln_f: SkipLayerNormalization(h.0.mlp.c_proj.add_bias, h.0.ln_2.residual, transformer.ln_f.weight, transformer.ln_f.bias)",
      "lm_head: FusedMatMul(hidden_states, lm_head.weight)",
    ]);
    expect(model.graph.inputs.map(({ name }) => name)).toContain("position_ids");
    expect(model.config).toMatchObject({ intermediateSize: 96, numKeyValueHeads: 3, headDim: 8, maxPositions: 64 });
  });

  test("heads of any size, an inner size may be given", async () => {
    const model = await load({ config: { ...TINY_GPT2, n_head: 4, n_inner: 20 } });
    expect(shapeOf(model, "transformer.h.1.attn.c_attn.weight")).toEqual([24, 3 * 24]);
    expect(shapeOf(model, "transformer.h.1.attn.c_attn.bias")).toEqual([3 * 24]);
    expect(shapeOf(model, "transformer.h.1.attn.c_proj.weight")).toEqual([24, 24]);
    expect(shapeOf(model, "transformer.h.1.mlp.c_fc.weight")).toEqual([24, 20]);
  });

  test.each([
    ["gelu_new", "Gelu", "tanh"],
    ["gelu_pytorch_tanh", "Gelu", "tanh"],
    ["gelu", "Gelu", "none"],
    ["relu", "Relu", undefined],
  ])("activation %s", async (name, opType, approximate) => {
    const { graph } = await load({ config: { ...TINY_GPT2, activation_function: name } });
    const node = graph.nodes.find((candidate) => candidate.name === "h.1.mlp.activation")!;
    expect(node.opType).toBe(opType);
    expect(node.attributes).toEqual(
      approximate === undefined ? {} : { approximate: { kind: "string", value: approximate } },
    );
  });

  test.each([
    [{}, [1 / Math.sqrt(8), 1 / Math.sqrt(8)]],
    [{ scale_attn_weights: false }, [1, 1]],
    [{ scale_attn_by_inverse_layer_idx: true }, [1 / Math.sqrt(8), 1 / Math.sqrt(8) / 2]],
  ])("scale of the scores with %j", async (change, scales) => {
    const { graph } = await load({ config: { ...TINY_GPT2, ...change } });
    const attentions = graph.nodes.filter(({ opType }) => opType === "GroupQueryAttention");
    expect(attentions.map(({ attributes }) => attributes.scale)).toEqual(
      scales.map((value) => ({ kind: "float", value })),
    );
  });

  test("causal masks that old checkpoints store are ignored", async () => {
    const directory = write({ config: TINY_GPT2, prefix: false });
    const tensors = makeTensors({ config: TINY_GPT2, prefix: false });
    const masks = [
      { name: "h.0.attn.bias", shape: [1, 1, 2, 2], values: new Float32Array(4) },
      { name: "h.0.attn.masked_bias", shape: [], values: new Float32Array(1) },
    ];
    writeSafetensors(join(directory, "model.safetensors"), [...tensors, ...masks]);
    expect((await loadModel(directory)).graph.weights.has("wte.weight")).toBe(true);
  });

  test.each<[string, Record<string, unknown>, (file: string) => string]>([
    [
      "another activation",
      { activation_function: "tanh" },
      (file) =>
        `"activation_function" in "${file}": expected one of "silu", "gelu", "gelu_new", "gelu_pytorch_tanh", "relu", received "tanh".`,
    ],
    ["heads that do not divide", { n_head: 5 }, (file) => `"n_embd" 24 in "${file}" must be a multiple of "n_head" 5.`],
    [
      "cross-attention",
      { add_cross_attention: true },
      (file) => `"add_cross_attention": true in "${file}" is not supported: there is no encoder to attend to.`,
    ],
  ])("refuses %s", async (_, change, message) => {
    const directory = write({ config: TINY_GPT2 });
    writeConfig(directory, { ...TINY_GPT2, ...change });
    await expect(loadModel(directory)).rejects.toThrow(new ModelError(message(join(directory, "config.json"))));
  });
});

describe("every family", () => {
  test("a smaller context keeps the tables small, a larger one changes nothing", async () => {
    const directory = write({ config: TINY_LLAMA });
    const small = await loadModel(directory, { maxContext: 10 });
    expect(small.config.maxPositions).toBe(10);
    expect(shapeOf(small, "rotary.sin")).toEqual([10, 4]);
    expect((await loadModel(directory, { maxContext: 1000 })).config.maxPositions).toBe(64);
    expect((await load({ config: TINY_GPT2 })).config.maxPositions).toBe(64);
  });

  test.each([0, 1.5, NaN])("a context of %p is refused", async (maxContext) => {
    await expect(loadModel(write({ config: TINY_LLAMA }), { maxContext })).rejects.toThrow(
      new UsageError(`maxContext must be an integer of at least 1, received ${maxContext}.`),
    );
  });

  test.each([
    [TINY_LLAMA, "embed_tokens.weight"],
    [TINY_GPT2, "wte.weight"],
  ])("names without the prefix of the model's part", async (config, table) => {
    const model = await load({ config, prefix: false });
    expectWellFormed(model);
    expect(model.graph.weights.has(table)).toBe(true);
  });

  test("half-precision matrices are seen as float32, the embedding as it is stored", async () => {
    const { graph } = await load({ config: TINY_LLAMA, dtype: "BF16" });
    expect(graph.weights.get("model.norm.weight")).toMatchObject({
      dataType: "float32",
      source: { dataType: "bfloat16" },
    });
    expect(graph.weights.get("lm_head.weight")).toMatchObject({
      dataType: "float32",
      source: { dataType: "bfloat16" },
    });
    expect(graph.weights.get("model.embed_tokens.weight")).toMatchObject({ dataType: "bfloat16" });
    expect(print(graph).slice(0, 3)).toEqual([
      "embed_tokens: Gather(model.embed_tokens.weight, input_ids)",
      "embed_tokens.cast: Cast(embed_tokens)",
      "layers.0.input_layernorm: SimplifiedLayerNormalization(embed_tokens.cast, model.layers.0.input_layernorm.weight)",
    ]);
  });
});

test("a family that adds one weight twice is a defect", async () => {
  const graph = new GraphBuilder("twice", await openCheckpoint(write({ config: TINY_LLAMA })));
  graph.tensor("model.norm.weight", [24]);
  expect(() => graph.tensor("model.norm.weight", [24])).toThrow(
    new InternalError('Weight "model.norm.weight" was added to graph "twice" twice.'),
  );
});

describe("embeddings", () => {
  const tied = { ...TINY_LLAMA, tie_word_embeddings: true };
  const unsaid = { ...TINY_LLAMA, tie_word_embeddings: null };
  /** Which stored tensors (by their offset) the two ends of the model read. */
  const readEnds = async (config: Record<string, unknown>, embeddings: "table" | "head" | "both") => {
    const { graph } = await load({ config, embeddings });
    const offset = (name: string): number => (graph.weights.get(name)!.source as FileSource).offset;
    return { input: offset("model.embed_tokens.weight"), output: offset("lm_head.weight") };
  };

  test.each([
    ["tied, only the table stored", tied, "table"],
    ["tied, only the head stored", tied, "head"],
    ["tied, both stored", tied, "both"],
    ["not said, only the table stored", unsaid, "table"],
    ["not said, only the head stored", unsaid, "head"],
  ] as const)("%s: one tensor for both ends", async (_, config, embeddings) => {
    const { input, output } = await readEnds(config, embeddings);
    expect(output).toBe(input);
  });

  test.each([
    ["not tied", TINY_LLAMA],
    ["not said", unsaid],
  ])("%s, both stored: two tensors", async (_, config) => {
    const { input, output } = await readEnds(config, "both");
    expect(output).not.toBe(input);
  });

  test.each([
    ["table", "lm_head.weight"],
    ["head", "model.embed_tokens.weight"],
  ] as const)("not tied, only the %s stored: an error", async (embeddings, missing) => {
    const directory = write({ config: TINY_LLAMA, embeddings });
    await expect(loadModel(directory)).rejects.toThrow(
      new ModelError(
        `Tensor "${missing}" [40, 24], which config.json implies, is missing from the checkpoint "${directory}" (20 tensors). ` +
          "Check that config.json and the weights are of the same model.",
      ),
    );
  });
});
