/**
 * What tells the decoders of the Llama line apart, as data: each family file fills in one DecoderDesign, and the builders beside
 * this file read it. Whatever all of them share (one product for q|k|v, rotary positions, gated feed-forward, RMS norms of
 * running sums) is not said here but done there.
 */
import type { Activation } from "../activation.ts";
import { readRotaryDim, readRotation, type Rotation } from "../rotary.ts";
import type { Settings } from "../settings.ts";
import type { ModelSizes } from "../family.ts";

export interface DecoderDesign {
  readonly norms: LayerNorms;
  /** Divided by the root mean square; or centred first, with a bias. */
  readonly normKind: "rms" | "layer";
  /** Added to the variance under the root. */
  readonly epsilon: number;
  /** Norm weights are stored as what they differ from 1 by. */
  readonly normsStoreDifference: boolean;
  readonly biases: {
    readonly qkv: boolean;
    /** Of the product behind attention. */
    readonly output: boolean;
    readonly feedForward: boolean;
  };
  /** Each head of q and k has a norm of its own, `q_norm` and `k_norm`, before it is turned. */
  readonly normalisesHeads: boolean;
  /** The checkpoint stores `qkv_proj` and `gate_up_proj`, not their parts. */
  readonly storesPacked: boolean;
  /** Gate and up, multiplied; or one product before the activation and one behind it, of these names. */
  readonly feedForward: "gated" | { readonly up: string; readonly down: string };
  readonly activation: Activation;
  /** Factor of the token embedding; 1: none. */
  readonly embeddingScale: number;
  /** Factor of the attention scores. */
  readonly scoreScale: number;
  /** Attention scores x become cap * tanh(x / cap); undefined: they stay. */
  readonly scoreCap: number | undefined;
  /** The same for logits. */
  readonly logitCap: number | undefined;
  /** What a config means that does not say tie_word_embeddings. */
  readonly tiedByDefault: boolean;
  /** The positions of each layer. */
  readonly rotary: (layer: number) => RotaryDesign;
  /** How many positions a token of each layer sees, its own included; undefined: all up to its own. */
  readonly window: (layer: number) => number | undefined;
}

/** Names of a layer's norms; one that is left out is not there. */
export interface LayerNorms {
  readonly beforeAttention: string;
  /** Of what attention gives, before that is added to the running sum. */
  readonly afterAttention?: string;
  readonly beforeFeedForward: string;
  readonly afterFeedForward?: string;
}

/** One pair of tables, shared by all layers that name it. */
export interface RotaryDesign extends Rotation {
  readonly name: string;
}

/** Llama without any option; families change what differs. */
export function plainDesign(config: Settings, sizes: ModelSizes): DecoderDesign {
  const rotaryDim = readRotaryDim(config, sizes.headDim);
  const rotary = { name: "rotary", ...readRotation(config, rotaryDim, sizes.maxPositions) };
  return {
    norms: { beforeAttention: "input_layernorm", beforeFeedForward: "post_attention_layernorm" },
    normKind: "rms",
    epsilon: config.positive("rms_norm_eps", 1e-6),
    normsStoreDifference: false,
    biases: { qkv: false, output: false, feedForward: false },
    normalisesHeads: false,
    storesPacked: false,
    feedForward: "gated",
    activation: "silu",
    embeddingScale: 1,
    scoreScale: 1 / Math.sqrt(sizes.headDim),
    scoreCap: undefined,
    logitCap: undefined,
    tiedByDefault: false,
    rotary: () => rotary,
    window: () => undefined,
  };
}
