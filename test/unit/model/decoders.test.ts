/** What each family of the Llama line does otherwise than Llama, in the graph that it builds; and what each refuses. */
import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "@jest/globals";
import { ModelError } from "../../../src/errors.ts";
import type { GraphNode } from "../../../src/model/graph.ts";
import { loadModel, type Model } from "../../../src/model/model.ts";
import { useTemporaryDirectory } from "../../support/temporary-directory.ts";
import { TINY_LLAMA, writeCheckpoint, writeConfig } from "../../support/write-checkpoint.ts";

const root = useTemporaryDirectory();

type Config = Readonly<Record<string, unknown>>;

const configOf = (modelType: string, architecture: string, change: Config = {}): Config => ({
  ...TINY_LLAMA,
  model_type: modelType,
  architectures: [architecture],
  head_dim: 8,
  ...change,
});

const mistral = (change: Config = {}): Config => configOf("mistral", "MistralForCausalLM", change);
const qwen2 = (change: Config = {}): Config => configOf("qwen2", "Qwen2ForCausalLM", change);
const qwen3 = (change: Config = {}): Config => configOf("qwen3", "Qwen3ForCausalLM", change);
const gemma = (change: Config = {}): Config => configOf("gemma", "GemmaForCausalLM", change);
const gemma2 = (change: Config = {}): Config => configOf("gemma2", "Gemma2ForCausalLM", change);
const gemma3 = (change: Config = {}): Config => configOf("gemma3_text", "Gemma3ForCausalLM", change);
const phi3 = (change: Config = {}): Config => configOf("phi3", "Phi3ForCausalLM", change);

async function load(config: Config): Promise<Model> {
  const directory = mkdtempSync(join(root, "model-"));
  writeCheckpoint(directory, { config });
  return loadModel(directory);
}

const attentionsOf = ({ graph }: Model): GraphNode[] =>
  graph.nodes.filter(({ opType }) => opType === "GroupQueryAttention");

/** An attribute of each layer's attention; undefined where it has none. */
const attributesOf = (model: Model, name: string): unknown[] =>
  attentionsOf(model).map(({ attributes }) => (attributes[name] as { value: unknown } | undefined)?.value);

/** The nodes of the first layer as "name: Op". */
const firstLayerOf = ({ graph }: Model): string[] =>
  graph.nodes
    .filter(({ name }) => name.startsWith("layers.0."))
    .map(({ name, opType }) => `${name.slice("layers.0.".length)}: ${opType}`);

describe("windows", () => {
  const numLayers = { num_hidden_layers: 6 };

  test.each<[string, Config, (number | undefined)[]]>([
    ["mistral: every layer", mistral({ sliding_window: 5 }), [5, 5]],
    ["mistral: transformers' default", mistral(), [4096, 4096]],
    ["mistral: null is none", mistral({ sliding_window: null }), [undefined, undefined]],
    ["phi3: every layer", phi3({ sliding_window: 5 }), [5, 5]],
    ["phi3: none unless given", phi3(), [undefined, undefined]],
    ["qwen2: not used unless said", qwen2({ sliding_window: 5 }), [undefined, undefined]],
    [
      "qwen2: from max_window_layers on",
      qwen2({ sliding_window: 5, use_sliding_window: true, max_window_layers: 1 }),
      [undefined, 5],
    ],
    [
      "qwen3: as layer_types lists",
      qwen3({
        sliding_window: 5,
        use_sliding_window: true,
        layer_types: ["sliding_attention", "full_attention"],
      }),
      [5, undefined],
    ],
    ["gemma2: every other layer", gemma2({ ...numLayers }), [4096, undefined, 4096, undefined, 4096, undefined]],
    ["gemma3: five of six", gemma3({ ...numLayers, sliding_window: 7 }), [7, 7, 7, 7, 7, undefined]],
    [
      "gemma3: sliding_window_pattern",
      gemma3({ ...numLayers, sliding_window: 7, sliding_window_pattern: 3 }),
      [7, 7, undefined, 7, 7, undefined],
    ],
  ])("%s", async (_, config, windows) => {
    expect(attributesOf(await load(config), "local_window_size")).toEqual(windows);
  });
});

describe("qwen", () => {
  test("2: a bias for q, k and v, none behind attention", async () => {
    const { graph } = await load(qwen2());
    const biases = [...graph.weights.keys()].filter(
      (name) => name.startsWith("model.layers.0.") && name.endsWith("bias"),
    );
    expect(biases).toEqual(["model.layers.0.self_attn.qkv_proj.bias"]);
  });

  test("3: heads of q and k are normalised between product and attention", async () => {
    const model = await load(qwen3());
    expect(firstLayerOf(model).slice(1, 10)).toEqual([
      "qkv_proj: FusedMatMul",
      "qkv_heads: Reshape",
      "split_qkv: Split",
      "self_attn.q_norm: SimplifiedLayerNormalization",
      "self_attn.k_norm: SimplifiedLayerNormalization",
      "q: Reshape",
      "k: Reshape",
      "v: Reshape",
      "attention: GroupQueryAttention",
    ]);
    expect(attentionsOf(model)[0]!.inputs.slice(0, 3)).toEqual(["layers.0.q", "layers.0.k", "layers.0.v"]);
  });
});

describe("gemma", () => {
  test("scales the embedding, stores norms as their difference from 1, ties its tables", async () => {
    const { graph } = await load(gemma({ tie_word_embeddings: true }));
    expect(graph.nodes[1]).toMatchObject({ opType: "Mul", inputs: ["embed_tokens", "embedding_scale"] });
    const scale = graph.weights.get("embedding_scale")!.source;
    expect(scale.kind === "inline" && new Float32Array(scale.bytes.slice().buffer)[0]).toBe(Math.fround(Math.sqrt(24)));
    const norms = [...graph.weights.values()].filter(({ name }) => name.endsWith("norm.weight"));
    expect(norms).toHaveLength(5);
    for (const { source } of norms) expect(source).toMatchObject({ kind: "file", plus: 1 });
    expect(graph.nodes.find(({ name }) => name === "layers.0.activation")).toMatchObject({
      opType: "Gelu",
      attributes: { approximate: { value: "tanh" } },
    });
  });

  test("2: norms around both halves of a layer", async () => {
    expect(firstLayerOf(await load(gemma2()))).toEqual([
      "input_layernorm: SimplifiedLayerNormalization",
      "qkv_proj: FusedMatMul",
      "attention: GroupQueryAttention",
      "o_proj: FusedMatMul",
      "post_attention_layernorm: SimplifiedLayerNormalization",
      "pre_feedforward_layernorm: SkipSimplifiedLayerNormalization",
      "gate_up_proj: FusedMatMul",
      "split_gate_up: Split",
      "activation: Gelu",
      "gated: Mul",
      "down_proj: FusedMatMul",
      "post_feedforward_layernorm: SimplifiedLayerNormalization",
    ]);
  });

  test("2: scores and logits are capped, by transformers' defaults where nothing is said, not where null is", async () => {
    const capped = await load(gemma2());
    expect(attributesOf(capped, "softcap")).toEqual([50, 50]);
    expect(capped.graph.nodes.slice(-4).map(({ name, opType, outputs }) => [name, opType, outputs[0]])).toEqual([
      ["lm_head", "FusedMatMul", "lm_head"],
      ["logits_cap.share", "Div", "logits_cap.share"],
      ["logits_cap.tanh", "Tanh", "logits_cap.tanh"],
      ["logits_cap", "Mul", "logits"],
    ]);
    const free = await load(gemma2({ attn_logit_softcapping: null, final_logit_softcapping: null }));
    expect(attributesOf(free, "softcap")).toEqual([undefined, undefined]);
    expect(free.graph.nodes.at(-1)).toMatchObject({ name: "lm_head", outputs: ["logits"] });
  });

  test("2: scores are scaled by query_pre_attn_scalar", async () => {
    expect(attributesOf(await load(gemma2({ query_pre_attn_scalar: 20 })), "scale")[0]).toBe(1 / Math.sqrt(20));
  });

  test("3: layers with a window have positions of their own", async () => {
    const model = await load(gemma3({ layer_types: ["full_attention", "sliding_attention"] }));
    expect(attentionsOf(model).map(({ inputs }) => inputs[7])).toEqual(["rotary.cos", "rotary.window.cos"]);
  });
});

test("starcoder2: layer norms and a plain feed-forward, with biases", async () => {
  const model = await load(configOf("starcoder2", "Starcoder2ForCausalLM"));
  expect(firstLayerOf(model)).toEqual([
    "input_layernorm: LayerNormalization",
    "qkv_proj: FusedMatMul",
    "qkv_proj.add_bias: Add",
    "attention: GroupQueryAttention",
    "o_proj: FusedMatMul",
    "o_proj.add_bias: Add",
    "post_attention_layernorm: SkipLayerNormalization",
    "c_fc: FusedMatMul",
    "c_fc.add_bias: Add",
    "activation: Gelu",
    "c_proj: FusedMatMul",
    "c_proj.add_bias: Add",
  ]);
});

test("phi3: the stored tensors are packed already", async () => {
  const { graph } = await load(phi3({ head_dim: 16 }));
  expect(graph.weights.get("model.layers.0.self_attn.qkv_proj.weight")!.source).toMatchObject({
    kind: "file",
    shape: [5 * 16, 24],
  });
  expect(graph.weights.get("model.layers.0.mlp.gate_up_proj.weight")!.source).toMatchObject({
    kind: "file",
    shape: [40, 24],
  });
});

test("phi3: the context is that of the first training unless more is asked for", async () => {
  const directory = mkdtempSync(join(root, "model-"));
  const factors = { short_factor: [1, 1, 1, 1], long_factor: [2, 2, 2, 2] };
  const config = phi3({ original_max_position_embeddings: 32, rope_scaling: { type: "longrope", ...factors } });
  writeCheckpoint(directory, { config });
  const contextOf = async (maxContext?: number): Promise<number> =>
    (await loadModel(directory, { maxContext })).config.maxPositions;
  expect(await contextOf()).toBe(32);
  expect(await contextOf(16)).toBe(16);
  expect(await contextOf(48)).toBe(48);
  expect(await contextOf(1000)).toBe(64);
});

describe("refusals", () => {
  test.each<[string, Config, Config, (file: string) => string]>([
    [
      "a window that is no number",
      mistral(),
      { sliding_window: "wide" },
      (file) => `"sliding_window" in "${file}": expected an integer of at least 1, received "wide".`,
    ],
    [
      "layer types of another number of layers",
      gemma2(),
      { layer_types: ["full_attention"] },
      (file) =>
        `"layer_types" in "${file}": expected a list of 2 times one of "full_attention", "sliding_attention", ` +
        `received ["full_attention"].`,
    ],
    [
      "a kind of layer that is not known",
      qwen3({ use_sliding_window: true }),
      { use_sliding_window: true, layer_types: ["full_attention", "linear_attention"] },
      (file) =>
        `"layer_types" in "${file}": expected a list of 2 times one of "full_attention", "sliding_attention", ` +
        `received ["full_attention","linear_attention"].`,
    ],
    [
      "another activation of Gemma",
      gemma2(),
      { hidden_activation: "silu" },
      (file) => `"hidden_activation" in "${file}": expected one of "gelu_pytorch_tanh", received "silu".`,
    ],
    [
      "a cap of 0",
      gemma2(),
      { final_logit_softcapping: 0 },
      (file) => `"final_logit_softcapping" in "${file}": expected a number above 0, received 0.`,
    ],
    [
      "attention to both sides",
      gemma3(),
      { use_bidirectional_attention: true },
      (file) =>
        `"use_bidirectional_attention": true in "${file}" is not supported: a text is generated from left to right.`,
    ],
  ])("%s", async (_, config, change, message) => {
    const directory = mkdtempSync(join(root, "model-"));
    writeCheckpoint(directory, { config });
    writeConfig(directory, { ...config, ...change });
    await expect(loadModel(directory)).rejects.toThrow(new ModelError(message(join(directory, "config.json"))));
  });
});
