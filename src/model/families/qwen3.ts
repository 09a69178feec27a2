/**
 * Qwen 3 (dense): Llama with a norm for every head of q and k; upper layers may have a window.
 * @see https://arxiv.org/abs/2505.09388
 */
import { ACTIVATIONS } from "../activation.ts";
import { decoderFamily } from "../decoder/decoder.ts";
import { plainDesign } from "../decoder/design.ts";
import { readQwenWindows } from "../decoder/windows.ts";

/** The Qwen3 family. */
export const qwen3 = decoderFamily({
  modelType: "qwen3",
  architecture: "Qwen3ForCausalLM",
  defaults: { max_position_embeddings: 32_768, num_key_value_heads: 32, head_dim: 128, sliding_window: 4096 },
  design: (config, sizes) => {
    const bias = config.boolean("attention_bias", false);
    return {
      ...plainDesign(config, sizes),
      activation: config.choice("hidden_act", ACTIVATIONS, "silu"),
      biases: { qkv: bias, output: bias, feedForward: false },
      normalisesHeads: true,
      window: readQwenWindows(config, sizes.numHiddenLayers),
    };
  },
});
