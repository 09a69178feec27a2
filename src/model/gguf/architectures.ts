/**
 * The architectures of GGUF files in the words of Hugging Face: metadata becomes the keys of config.json, tensor names become those
 * of a checkpoint directory, and what llama.cpp rearranges is named, so that the families build both alike. The table is at the end.
 */
import type { Settings } from "../settings.ts";

/** What the tensors of a file tell beside its metadata. */
export interface TensorFacts {
  readonly vocabSize: number | undefined;
  has(name: string): boolean;
}

export interface GgufArchitecture {
  /** The keys of config.json that differ from those every decoder has. */
  readonly settings: (metadata: Settings, facts: TensorFacts) => Record<string, unknown>;
  /** Names of a layer's parts: "attn_q" is "self_attn.q_proj". */
  readonly layerNames: Readonly<Record<string, string>>;
  /** Layer parts whose heads llama.cpp stores with the two halves that rotary positions turn together interleaved. */
  readonly interleaved: readonly ("attn_q" | "attn_k")[];
}

const LAYER_NAMES = {
  attn_norm: "input_layernorm",
  attn_q: "self_attn.q_proj",
  attn_k: "self_attn.k_proj",
  attn_v: "self_attn.v_proj",
  attn_output: "self_attn.o_proj",
  ffn_norm: "post_attention_layernorm",
  ffn_gate: "mlp.gate_proj",
  ffn_up: "mlp.up_proj",
  ffn_down: "mlp.down_proj",
} as const;

const GLOBAL_NAMES: Readonly<Record<string, string>> = {
  token_embd: "model.embed_tokens",
  output_norm: "model.norm",
  output: "lm_head",
};

/** Hugging Face's name of a tensor; its own where the table has none, so that it is refused by the name that people see. */
export function huggingFaceName(name: string, { layerNames }: GgufArchitecture): string {
  const [, layer, part = "", kind = ""] = /^(?:blk\.(\d+)\.)?(\w+)\.(weight|bias)$/.exec(name) ?? [];
  const names = layer === undefined ? GLOBAL_NAMES : layerNames;
  if (!Object.hasOwn(names, part)) return name;
  return layer === undefined ? `${names[part]}.${kind}` : `model.layers.${layer}.${names[part]}.${kind}`;
}

/** The keys that every decoder's config.json has. */
export function commonSettings(architecture: string, metadata: Settings, facts: TensorFacts): Record<string, unknown> {
  const key = (name: string) => `${architecture}.${name}`;
  const given = (name: string, read: () => unknown) => (metadata.has(key(name)) ? read() : undefined);
  const integer = (name: string) => given(name, () => metadata.integer(key(name), undefined, 0));
  const numHeads = metadata.integer(key("attention.head_count"));
  const headDim =
    (integer("attention.key_length") as number | undefined) ?? metadata.integer(key("embedding_length")) / numHeads;
  const rotaryDim = integer("rope.dimension_count") as number | undefined;
  return {
    vocab_size: facts.vocabSize ?? integer("vocab_size"),
    hidden_size: metadata.integer(key("embedding_length")),
    intermediate_size: metadata.integer(key("feed_forward_length")),
    num_hidden_layers: metadata.integer(key("block_count")),
    num_attention_heads: numHeads,
    num_key_value_heads: integer("attention.head_count_kv"),
    head_dim: headDim,
    partial_rotary_factor: rotaryDim === undefined ? undefined : rotaryDim / headDim,
    max_position_embeddings: metadata.integer(key("context_length")),
    rms_norm_eps: given("attention.layer_norm_rms_epsilon", () =>
      metadata.positive(key("attention.layer_norm_rms_epsilon")),
    ),
    rope_theta: given("rope.freq_base", () => metadata.positive(key("rope.freq_base"))),
    rope_scaling: readRopeScaling(key, metadata),
    tie_word_embeddings: !facts.has("output.weight"),
    attention_bias: facts.has("blk.0.attn_q.bias"),
  };
}

function readRopeScaling(key: (name: string) => string, metadata: Settings): Record<string, unknown> | undefined {
  if (!metadata.has(key("rope.scaling.type"))) return undefined;
  const type = metadata.choice(key("rope.scaling.type"), ["none", "linear"]);
  if (type === "none") return undefined;
  return { rope_type: type, factor: metadata.positive(key("rope.scaling.factor")) };
}

/** With interleaved halves the elements that are turned would not be the first of a head. */
function refusePartialRotation(metadata: Settings): void {
  if (!metadata.has("llama.rope.dimension_count")) return;
  const headDim = metadata.has("llama.attention.key_length")
    ? metadata.integer("llama.attention.key_length")
    : metadata.integer("llama.embedding_length") / metadata.integer("llama.attention.head_count");
  if (metadata.integer("llama.rope.dimension_count") === headDim) return;
  metadata.refuse("llama.rope.dimension_count", `heads of ${headDim} are turned as a whole.`);
}

const llama: GgufArchitecture = {
  settings(metadata) {
    if (metadata.integer("llama.expert_count", 0, 0) > 0) {
      metadata.refuse("llama.expert_count", "mixtures of experts are not there yet.");
    }
    refusePartialRotation(metadata);
    return { model_type: "llama" };
  },
  layerNames: LAYER_NAMES,
  interleaved: ["attn_q", "attn_k"],
};

/** By the names of general.architecture. */
export const GGUF_ARCHITECTURES: Readonly<Record<string, GgufArchitecture>> = { llama };
