/**
 * Gemma 2: Gemma with norms before and after both halves of a layer, capped scores and logits, and a window in every other layer.
 * @see https://arxiv.org/abs/2408.00118
 */
import { decoderFamily } from "../decoder/decoder.ts";
import type { DecoderDesign } from "../decoder/design.ts";
import { readWindows } from "../decoder/windows.ts";
import type { ModelSizes } from "../family.ts";
import type { Settings } from "../settings.ts";
import { gemmaDesign } from "./gemma.ts";

/** The Gemma 2 family. */
export const gemma2 = decoderFamily({
  modelType: "gemma2",
  architecture: "Gemma2ForCausalLM",
  defaults: {
    max_position_embeddings: 8192,
    num_key_value_heads: 4,
    head_dim: 256,
    query_pre_attn_scalar: 256,
    sliding_window: 4096,
    attn_logit_softcapping: 50,
    final_logit_softcapping: 30,
  },
  design: gemma2Design,
});

/** What Gemma 2 and 3 share. */
export function gemma2Design(config: Settings, sizes: ModelSizes): DecoderDesign {
  const readCap = (key: string): number | undefined => (config.has(key) ? config.positive(key) : undefined);
  return {
    ...gemmaDesign(config, sizes),
    norms: {
      beforeAttention: "input_layernorm",
      afterAttention: "post_attention_layernorm",
      beforeFeedForward: "pre_feedforward_layernorm",
      afterFeedForward: "post_feedforward_layernorm",
    },
    scoreScale: 1 / Math.sqrt(config.positive("query_pre_attn_scalar")),
    scoreCap: readCap("attn_logit_softcapping"),
    logitCap: readCap("final_logit_softcapping"),
    window: readWindows(config, sizes.numHiddenLayers, (layer) => layer % 2 === 0),
  };
}
