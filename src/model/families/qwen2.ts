/**
 * Qwen 2 and 2.5: Llama with biases on q, k and v; upper layers may have a window.
 * @see https://arxiv.org/abs/2407.10671
 */
import { ACTIVATIONS } from "../activation.ts";
import { decoderFamily } from "../decoder/decoder.ts";
import { plainDesign } from "../decoder/design.ts";
import { readQwenWindows } from "../decoder/windows.ts";

/** The Qwen2 family. */
export const qwen2 = decoderFamily({
  modelType: "qwen2",
  architecture: "Qwen2ForCausalLM",
  defaults: { max_position_embeddings: 32_768, num_key_value_heads: 32, sliding_window: 4096 },
  design: (config, sizes) => ({
    ...plainDesign(config, sizes),
    activation: config.choice("hidden_act", ACTIVATIONS, "silu"),
    biases: { qkv: true, output: false, feedForward: false },
    window: readQwenWindows(config, sizes.numHiddenLayers),
  }),
});
