/**
 * Gemma: Llama with a scaled embedding, norm weights stored as their difference from 1, GELU in the gate, tied tables. The
 * later Gemmas begin here.
 * @see https://arxiv.org/abs/2403.08295
 */
import { decoderFamily } from "../decoder/decoder.ts";
import { plainDesign, type DecoderDesign } from "../decoder/design.ts";
import type { ModelSizes } from "../family.ts";
import type { Settings } from "../settings.ts";

/** The Gemma family. */
export const gemma = decoderFamily({
  modelType: "gemma",
  architecture: "GemmaForCausalLM",
  defaults: { max_position_embeddings: 8192, num_key_value_heads: 16, head_dim: 256 },
  design: gemmaDesign,
});

/** What all Gemmas share. */
export function gemmaDesign(config: Settings, sizes: ModelSizes): DecoderDesign {
  const bias = config.boolean("attention_bias", false);
  // The first configs said "gelu" and meant its tanh form, which the models were trained with.
  config.choice("hidden_activation", ["gelu_pytorch_tanh"], "gelu_pytorch_tanh");
  config.choice("hidden_act", ["gelu_pytorch_tanh", "gelu"], "gelu_pytorch_tanh");
  return {
    ...plainDesign(config, sizes),
    activation: "gelu_pytorch_tanh",
    biases: { qkv: bias, output: bias, feedForward: false },
    normsStoreDifference: true,
    embeddingScale: Math.sqrt(sizes.hiddenSize),
    tiedByDefault: true,
  };
}
