/**
 * Phi-3: Llama whose checkpoints store q|k|v and gate|up as one tensor each; all layers may have a window.
 * @see https://arxiv.org/abs/2404.14219
 */
import { ACTIVATIONS } from "../activation.ts";
import { decoderFamily } from "../decoder/decoder.ts";
import { plainDesign } from "../decoder/design.ts";
import { readWindows } from "../decoder/windows.ts";

/** The Phi-3 family. */
export const phi3 = decoderFamily({
  modelType: "phi3",
  architecture: "Phi3ForCausalLM",
  defaults: { max_position_embeddings: 4096, rms_norm_eps: 1e-5 },
  design: (config, sizes) => ({
    ...plainDesign(config, sizes),
    activation: config.choice("hidden_act", ACTIVATIONS, "silu"),
    storesPacked: true,
    window: readWindows(config, sizes.numHiddenLayers, () => true),
  }),
});
