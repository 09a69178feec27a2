/**
 * The number formats in which products may be computed, as users ask for them.
 * A file of its own because every room from model/ to programs/ speaks of them.
 */

/** "float32" as it is; "int8" and "int4" quantise the matrices; "default" is float32. */
export const COMPUTE_TYPES = ["default", "float32", "int8", "int4"] as const;
export type ComputeType = (typeof COMPUTE_TYPES)[number];

/** Of int4: how many inputs may share a scale. */
export const BLOCK_SIZES = [32, 64, 128, 256] as const;
export const DEFAULT_BLOCK_SIZE = 32;

/** How products are computed. */
export interface ComputeOptions {
  readonly computeType?: ComputeType | undefined;
  /** One of BLOCK_SIZES. */
  readonly blockSize?: number | undefined;
}
