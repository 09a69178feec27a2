/**
 * StarCoder 2: Llama with layer norms, biases everywhere and a plain feed-forward; all layers may have a window.
 * @see https://arxiv.org/abs/2402.19173
 */
import { ACTIVATIONS } from "../activation.ts";
import { decoderFamily } from "../decoder/decoder.ts";
import { plainDesign } from "../decoder/design.ts";
import { readWindows } from "../decoder/windows.ts";

/** The StarCoder 2 family. */
export const starcoder2 = decoderFamily({
  modelType: "starcoder2",
  architecture: "Starcoder2ForCausalLM",
  defaults: { max_position_embeddings: 4096, num_key_value_heads: 2 },
  design: (config, sizes) => {
    const bias = config.boolean("use_bias", true);
    return {
      ...plainDesign(config, sizes),
      normKind: "layer",
      epsilon: config.positive("norm_epsilon", 1e-5),
      biases: { qkv: bias, output: bias, feedForward: bias },
      feedForward: { up: "c_fc", down: "c_proj" },
      activation: config.choice("hidden_act", ACTIVATIONS, "gelu_pytorch_tanh"),
      tiedByDefault: true,
      window: readWindows(config, sizes.numHiddenLayers, () => true),
    };
  },
});
