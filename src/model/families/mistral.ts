/**
 * Mistral: Llama whose tokens see a window of positions; later versions have none.
 * @see https://arxiv.org/abs/2310.06825
 */
import { ACTIVATIONS } from "../activation.ts";
import { decoderFamily } from "../decoder/decoder.ts";
import { plainDesign } from "../decoder/design.ts";
import { readWindows } from "../decoder/windows.ts";

/** The Mistral family. */
export const mistral = decoderFamily({
  modelType: "mistral",
  architecture: "MistralForCausalLM",
  defaults: { max_position_embeddings: 131_072, num_key_value_heads: 8, sliding_window: 4096 },
  design: (config, sizes) => ({
    ...plainDesign(config, sizes),
    activation: config.choice("hidden_act", ACTIVATIONS, "silu"),
    window: readWindows(config, sizes.numHiddenLayers, () => true),
  }),
});
