/** Which layers see only the last positions: what config.json lists, or the rule of the family. */
import type { Settings } from "../settings.ts";

/** The window of each layer, as DecoderDesign has it; null, 0 or no `sliding_window` is none. */
export function readWindows(
  config: Settings,
  numLayers: number,
  /** Whether a layer has one when config.json has no `layer_types`. */
  slides: (layer: number) => boolean,
): (layer: number) => number | undefined {
  if (!config.has("sliding_window")) return () => undefined;
  const window = config.integer("sliding_window");
  const types = config.choices("layer_types", ["full_attention", "sliding_attention"], numLayers);
  return (layer) => ((types === undefined ? slides(layer) : types[layer] === "sliding_attention") ? window : undefined);
}

/** Qwen's rule: none unless `use_sliding_window`, and then from layer `max_window_layers` on. */
export function readQwenWindows(config: Settings, numLayers: number): (layer: number) => number | undefined {
  if (!config.boolean("use_sliding_window", false)) return () => undefined;
  const numFull = config.integer("max_window_layers", 28, 0);
  return readWindows(config, numLayers, (layer) => layer >= numFull);
}
