/**
 * Rotary positions: the cos and sin tables that attention turns queries and keys by, with the scalings that stretch a
 * model's context. Computed with the float32 roundings of transformers, which the models were trained with.
 * @see https://arxiv.org/abs/2104.09864 (RoFormer, section 3.4.2)
 */
import { ModelError } from "../errors.ts";
import type { Settings } from "./settings.ts";

/** cos and sin of every position and frequency, each [maxPositions, rotaryDim/2]. */
export interface RotaryTables {
  readonly cos: Float32Array;
  readonly sin: Float32Array;
}

/** How heads are turned. */
export interface Rotation {
  /** The angle per position of each pair, [rotaryDim/2]. */
  readonly frequencies: Float32Array;
  /** Factor of cos and sin. */
  readonly scale: number;
}

/**
 * How many elements of a head are turned.
 * @throws {ModelError} when the number is odd, 0, or larger than a head
 */
export function readRotaryDim(config: Settings, headDim: number): number {
  const places = [config, config.section("rope_parameters")];
  const place = places.find((candidate) => candidate?.has("partial_rotary_factor"));
  const rotaryDim = place === undefined ? headDim : Math.floor(headDim * place.positive("partial_rotary_factor"));
  if (rotaryDim % 2 !== 0 || rotaryDim === 0 || rotaryDim > headDim) {
    place?.refuse("partial_rotary_factor", `it would turn ${rotaryDim} of ${headDim} elements of a head.`);
  }
  return rotaryDim;
}

/** The unscaled rotation; each wave may be longer by a factor of its own. */
export function plainRotation(theta: number, rotaryDim: number, factors?: readonly number[]): Rotation {
  const frequencies = Float32Array.from({ length: rotaryDim / 2 }, (_, i) => {
    const period = Math.fround(theta ** ((2 * i) / rotaryDim));
    return 1 / (factors === undefined ? period : Math.fround(Math.fround(factors[i]!) * period));
  });
  return { frequencies, scale: 1 };
}

/**
 * The rotation of rope_theta and rope_scaling.
 * @param maxPositions the context, on which a "longrope" depends
 * @param parameters what transformers 5 writes in their place
 * @throws {ModelError} when the scaling is of a kind that is not supported
 */
export function readRotation(
  config: Settings,
  rotaryDim: number,
  maxPositions: number,
  parameters = config.section("rope_parameters"),
): Rotation {
  const theta = (parameters ?? config).positive("rope_theta", 10000);
  const plain = plainRotation(theta, rotaryDim);
  const scaling = parameters ?? config.section("rope_scaling");
  if (scaling === undefined) return plain;
  // GGUF files may hold the outcome of a scaling, one number for each frequency, instead of its kind.
  if (scaling.has("factors")) return plainRotation(theta, rotaryDim, scaling.positives("factors", rotaryDim / 2));
  switch (readKind(scaling)) {
    case "default":
      return plain;
    case "linear": {
      const factor = scaling.positive("factor");
      return { ...plain, frequencies: plain.frequencies.map((frequency) => frequency / factor) };
    }
    case "llama3":
      return { ...plain, frequencies: scaleLikeLlama3(plain.frequencies, scaling) };
    case "longrope":
    case "su": {
      const original = readOriginalContext(config)!;
      const key = maxPositions > original ? "long_factor" : "short_factor";
      const rotation = plainRotation(theta, rotaryDim, scaling.positives(key, rotaryDim / 2));
      return { ...rotation, scale: readLongScale(config, scaling, original) };
    }
  }
}

const KINDS = ["default", "linear", "llama3", "longrope", "su"] as const;

/** "type" is how older checkpoints spell it, and "su" what they call longrope. */
function readKind(scaling: Settings): (typeof KINDS)[number] {
  return scaling.choice(scaling.has("rope_type") ? "rope_type" : "type", KINDS);
}

/**
 * The context that a model with a "longrope" was trained with first: up to there one list of factors holds, beyond it another.
 * Undefined for other models.
 */
export function readOriginalContext(config: Settings): number | undefined {
  const scaling = config.section("rope_parameters") ?? config.section("rope_scaling");
  const saysKind = scaling !== undefined && (scaling.has("rope_type") || scaling.has("type"));
  if (!saysKind || !/^(longrope|su)$/.test(readKind(scaling))) return undefined;
  const key = "original_max_position_embeddings";
  return (scaling.has(key) ? scaling : config).integer(key);
}

/** Longer contexts make attention flatter, for which larger q and k make up. @see https://arxiv.org/abs/2402.13753 */
function readLongScale(config: Settings, scaling: Settings, original: number): number {
  if (scaling.has("attention_factor")) return scaling.positive("attention_factor");
  const factor = config.integer("max_position_embeddings") / original;
  return factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(original));
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
 * The tables for positions 0 .. maxPositions-1.
 * @throws {ModelError} when a very long context would make them larger than MAX_TABLE_BYTES.
 */
export function computeRotaryTables({ frequencies, scale }: Rotation, maxPositions: number): RotaryTables {
  const width = frequencies.length;
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
    const row = position * width;
    for (let i = 0; i < width; i++) {
      const angle = Math.fround(position * frequencies[i]!);
      cos[row + i] = Math.cos(angle) * scale;
      sin[row + i] = Math.sin(angle) * scale;
    }
  }
  return { cos, sin };
}
