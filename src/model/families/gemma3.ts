/**
 * Gemma 3 (text): Gemma 2 with a norm for every head of q and k instead of capped scores, and five layers with a window, which
 * have positions of their own, to one without.
 * @see https://arxiv.org/abs/2503.19786
 */
import { decoderFamily } from "../decoder/decoder.ts";
import { readWindows } from "../decoder/windows.ts";
import { plainRotation, readRotaryDim, readRotation } from "../rotary.ts";
import { gemma2Design } from "./gemma2.ts";

/** The text part of the Gemma 3 family. */
export const gemma3 = decoderFamily({
  modelType: "gemma3_text",
  architecture: "Gemma3ForCausalLM",
  defaults: {
    max_position_embeddings: 131_072,
    num_key_value_heads: 4,
    head_dim: 256,
    query_pre_attn_scalar: 256,
    sliding_window: 4096,
    rope_theta: 1_000_000,
  },
  design: (config, sizes) => {
    if (config.boolean("use_bidirectional_attention", false)) {
      config.refuse("use_bidirectional_attention", "a text is generated from left to right.");
    }
    const patternKey = config.has("sliding_window_pattern") ? "sliding_window_pattern" : "_sliding_window_pattern";
    const pattern = config.integer(patternKey, 6);
    const window = readWindows(config, sizes.numHiddenLayers, (layer) => (layer + 1) % pattern !== 0);

    const parameters = config.section("rope_parameters");
    const rotaryDim = readRotaryDim(config, sizes.headDim);
    const far = readRotation(config, rotaryDim, sizes.maxPositions, parameters?.section("full_attention"));
    const near = plainRotation(
      parameters?.section("sliding_attention")?.positive("rope_theta") ??
        config.positive("rope_local_base_freq", 10_000),
      rotaryDim,
    );
    return {
      ...gemma2Design(config, sizes),
      normalisesHeads: true,
      window,
      rotary: (layer) =>
        window(layer) === undefined ? { name: "rotary", ...far } : { name: "rotary.window", ...near },
    };
  },
});
