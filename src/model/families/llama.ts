/**
 * Llama 2 and 3, and the models that are built like them (SmolLM, TinyLlama, ...): RMSNorm, rotary positions, grouped query
 * attention, gated SiLU feed-forward. The line that the other decoders are variations of.
 * @see https://arxiv.org/abs/2307.09288 (Llama 2), https://arxiv.org/abs/2407.21783 (Llama 3)
 */
import { ACTIVATIONS } from "../activation.ts";
import { decoderFamily } from "../decoder/decoder.ts";
import { plainDesign } from "../decoder/design.ts";

/** The Llama family. */
export const llama = decoderFamily({
  modelType: "llama",
  architecture: "LlamaForCausalLM",
  defaults: { max_position_embeddings: 2048 },
  design: (config, sizes) => {
    const attentionBias = config.boolean("attention_bias", false);
    const feedForwardBias = config.boolean("mlp_bias", false);
    return {
      ...plainDesign(config, sizes),
      activation: config.choice("hidden_act", ACTIVATIONS, "silu"),
      biases: { qkv: attentionBias, output: attentionBias, feedForward: feedForwardBias },
    };
  },
});
