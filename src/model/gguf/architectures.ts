/**
 * The architectures of GGUF files in the words of Hugging Face: metadata becomes the keys of config.json, tensor names become those
 * of a checkpoint directory, and what llama.cpp rearranges is named, so that the families build both alike. The table is at the end.
 */
import type { Settings } from "../settings.ts";

/** What the tensors of a file tell beside its metadata. */
export interface TensorFacts {
  readonly vocabSize: number | undefined;
  /** What the angles per position are divided by (Llama 3.1 and later); undefined: nothing. */
  readonly rotaryFactors: readonly number[] | undefined;
  has(name: string): boolean;
}

export interface GgufArchitecture {
  /** The keys of config.json that differ from those every decoder has. */
  readonly settings: (metadata: Settings) => Record<string, unknown>;
  /** Names of a layer's parts: "attn_q" is "self_attn.q_proj". */
  readonly layerNames: Readonly<Record<string, string>>;
  /** Layer parts whose heads llama.cpp stores with the two halves that rotary positions turn together interleaved. */
  readonly interleaved: readonly ("attn_q" | "attn_k")[];
  /** Norm weights are stored as what is multiplied with, where Hugging Face stores their difference from 1. */
  readonly storesWholeNorms: boolean;
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
    rope_scaling: readRopeScaling(key, metadata, facts),
    tie_word_embeddings: !facts.has("output.weight"),
    attention_bias: facts.has("blk.0.attn_q.bias"),
  };
}

function readRopeScaling(
  key: (name: string) => string,
  metadata: Settings,
  { rotaryFactors }: TensorFacts,
): Record<string, unknown> | undefined {
  if (rotaryFactors !== undefined) return { factors: rotaryFactors };
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
    const window = readWindow("llama", metadata);
    return window === null ? { model_type: "llama" } : { model_type: "mistral", sliding_window: window };
  },
  layerNames: LAYER_NAMES,
  interleaved: ["attn_q", "attn_k"],
  storesWholeNorms: false,
};

const qwen2: GgufArchitecture = {
  settings: () => ({ model_type: "qwen2" }),
  layerNames: LAYER_NAMES,
  interleaved: [],
  storesWholeNorms: false,
};

const HEAD_NORMS = { attn_q_norm: "self_attn.q_norm", attn_k_norm: "self_attn.k_norm" } as const;

const qwen3: GgufArchitecture = {
  ...qwen2,
  settings: () => ({ model_type: "qwen3" }),
  layerNames: { ...LAYER_NAMES, ...HEAD_NORMS },
};

const gemma: GgufArchitecture = {
  settings: () => ({ model_type: "gemma" }),
  layerNames: LAYER_NAMES,
  interleaved: [],
  storesWholeNorms: true,
};

const FOUR_NORMS = {
  post_attention_norm: "post_attention_layernorm",
  ffn_norm: "pre_feedforward_layernorm",
  post_ffw_norm: "post_feedforward_layernorm",
} as const;

const gemma2: GgufArchitecture = {
  ...gemma,
  settings(metadata) {
    const cap = (key: string, standard: number) => metadata.positive(`gemma2.${key}_logit_softcapping`, standard);
    return {
      model_type: "gemma2",
      sliding_window: readWindow("gemma2", metadata) ?? 4096,
      attn_logit_softcapping: cap("attn", 50),
      final_logit_softcapping: cap("final", 30),
      query_pre_attn_scalar: gemmaScoreScalar("gemma2", metadata, 46),
    };
  },
  layerNames: { ...LAYER_NAMES, ...FOUR_NORMS },
};

const gemma3: GgufArchitecture = {
  ...gemma,
  settings: (metadata) => ({
    model_type: "gemma3_text",
    sliding_window: readWindow("gemma3", metadata) ?? 4096,
    query_pre_attn_scalar: gemmaScoreScalar("gemma3", metadata, 62),
  }),
  layerNames: { ...LAYER_NAMES, ...FOUR_NORMS, ...HEAD_NORMS },
};

/** What query_pre_attn_scalar says: the file does not; the 27B models alone, known by their layers, take hidden size / heads. */
function gemmaScoreScalar(name: string, metadata: Settings, layersOf27B: number): number {
  if (metadata.integer(`${name}.block_count`) !== layersOf27B)
    return metadata.integer(`${name}.attention.key_length`, 256);
  return metadata.integer(`${name}.embedding_length`) / metadata.integer(`${name}.attention.head_count`);
}

const phi3: GgufArchitecture = {
  settings: (metadata) => ({ model_type: "phi3", sliding_window: readWindow("phi3", metadata) }),
  layerNames: { ...LAYER_NAMES, attn_qkv: "self_attn.qkv_proj", ffn_up: "mlp.gate_up_proj" },
  interleaved: [],
  storesWholeNorms: false,
};

/** Positions that a token sees; null: all before it. */
function readWindow(name: string, metadata: Settings): number | null {
  return metadata.integer(`${name}.attention.sliding_window`, 0, 0) || null;
}

/** By the names of general.architecture. */
export const GGUF_ARCHITECTURES: Readonly<Record<string, GgufArchitecture>> = {
  llama,
  qwen2,
  qwen3,
  gemma,
  gemma2,
  gemma3,
  phi3,
};
