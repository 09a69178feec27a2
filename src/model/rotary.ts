/**
 * Rotary positions: the cos and sin tables that attention turns queries and keys by, with the scalings that stretch a
 * model's context. Computed with the float32 roundings of transformers, which the models were trained with.
 * @see https://arxiv.org/abs/2104.09864 (RoFormer, section 3.4.2)
 */
import { ModelError } from "../errors.ts";
import type { HeadLayout } from "./head-padding.ts";
import type { Settings } from "./settings.ts";

/** cos and sin of every position and frequency, each [maxPositions, paddedHeadDim/2]. */
export interface RotaryTables {
  readonly cos: Float32Array;
  readonly sin: Float32Array;
}

/** The angle per position of each of the headDim/2 pairs, unscaled. */
export function plainFrequencies(theta: number, headDim: number): Float32Array {
  return Float32Array.from({ length: headDim / 2 }, (_, i) => 1 / Math.fround(theta ** ((2 * i) / headDim)));
}

/**
 * The angle per position of each of the headDim/2 pairs, from rope_theta and rope_scaling.
 * @param parameters what transformers 5 writes in their place
 * @throws {ModelError} when the scaling is of a kind that is not supported, or only a part of each head is to be turned.
 */
export function readRotaryFrequencies(
  config: Settings,
  headDim: number,
  parameters = config.section("rope_parameters"),
): Float32Array {
  for (const place of [config, parameters]) {
    if (place?.has("partial_rotary_factor") && place.positive("partial_rotary_factor") !== 1) {
      place.refuse("partial_rotary_factor", "whole heads are turned.");
    }
  }
  const frequencies = plainFrequencies((parameters ?? config).positive("rope_theta", 10000), headDim);
  const scaling = parameters ?? config.section("rope_scaling");
  if (scaling === undefined) return frequencies;
  // "type" is how older checkpoints spell it.
  const typeKey = scaling.has("rope_type") ? "rope_type" : "type";
  switch (scaling.choice(typeKey, ["default", "linear", "llama3"])) {
    case "default":
      return frequencies;
    case "linear": {
      const factor = scaling.positive("factor");
      return frequencies.map((frequency) => frequency / factor);
    }
    case "llama3":
      return scaleLikeLlama3(frequencies, scaling);
  }
}

/** Long waves are stretched by `factor`, short ones kept, those between blended. */
function scaleLikeLlama3(frequencies: Float32Array, scaling: Settings): Float32Array {
  const factor = scaling.positive("factor");
  const low = scaling.positive("low_freq_factor");
  const high = scaling.positive("high_freq_factor");
  const context = scaling.integer("original_max_position_embeddings");
  if (low >= high) {
    throw new ModelError(
      `"low_freq_factor" ${low} in "${scaling.file}" must be below "high_freq_factor" ${high}. Check the rope scaling.`,
    );
  }
  return frequencies.map((frequency) => {
    const wavesInContext = (context * frequency) / (2 * Math.PI);
    const kept = Math.min(1, Math.max(0, (wavesInContext - low) / (high - low)));
    return (1 - kept) * (frequency / factor) + kept * frequency;
  });
}

/** Both tables together; every rank holds them. */
const MAX_TABLE_BYTES = 2 ** 30;

/**
 * The tables for positions 0 .. maxPositions-1. Padding pairs are zero, so whatever they are turned by stays zero.
 * @throws {ModelError} when a very long context would make them larger than MAX_TABLE_BYTES.
 */
export function computeRotaryTables(frequencies: Float32Array, layout: HeadLayout, maxPositions: number): RotaryTables {
  const width = layout.paddedHeadDim / 2;
  const numBytes = 2 * maxPositions * width * Float32Array.BYTES_PER_ELEMENT;
  if (numBytes > MAX_TABLE_BYTES) {
    throw new ModelError(
      `Rotary tables of ${maxPositions} positions and ${width} frequencies would take ${numBytes} bytes, ` +
        `more than ${MAX_TABLE_BYTES}. Pass a smaller maxContext.`,
    );
  }
  const cos = new Float32Array(maxPositions * width);
  const sin = new Float32Array(maxPositions * width);
  for (let position = 0; position < maxPositions; position++) {
    for (let i = 0; i < frequencies.length; i++) {
      const angle = Math.fround(position * frequencies[i]!);
      cos[position * width + i] = Math.cos(angle);
      sin[position * width + i] = Math.sin(angle);
    }
  }
  return { cos, sin };
}
