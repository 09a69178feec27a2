/**
 * onnxruntime's GroupQueryAttention wants a head_dim that is a multiple of 8, of 16 with rotary positions. Heads of another size
 * get zero rows and columns in the weights around the attention: zeros add nothing to q.k, and nothing to the output.
 * Rotary positions turn element i with element i + headDim/2, so there each half is padded on its own.
 */
import { ModelError } from "../errors.ts";
import type { Run, WeightSource } from "./graph.ts";

/** Many times what any model has; what is larger would fill memory with position tables before a tensor could contradict it. */
const MAX_HEAD_DIM = 16_384;

/** The size of one head, real and in the graph. */
export interface HeadLayout {
  readonly headDim: number;
  readonly paddedHeadDim: number;
  readonly rotary: boolean;
}

/**
 * The layout for heads of this size.
 * @throws {ModelError} when no model can have it
 */
export function layOutHeads(headDim: number, rotary: boolean): HeadLayout {
  if (headDim > MAX_HEAD_DIM) {
    throw new ModelError(`Heads of size ${headDim}: expected at most ${MAX_HEAD_DIM}. Check config.json.`);
  }
  const unit = rotary ? 16 : 8;
  return { headDim, paddedHeadDim: Math.ceil(headDim / unit) * unit, rotary };
}

/** Widens `axis` of a weight source, numHeads heads of headDim, to heads of paddedHeadDim. */
export function padHeads(source: WeightSource, axis: number, numHeads: number, layout: HeadLayout): WeightSource {
  const { headDim, paddedHeadDim, rotary } = layout;
  if (headDim === paddedHeadDim) return source;
  const partsPerHead = rotary ? 2 : 1;
  const partSize = headDim / partsPerHead;
  const runs = Array.from({ length: numHeads * partsPerHead }, (_, part): Run[] => [
    { begin: part * partSize, end: (part + 1) * partSize },
    { zeros: (paddedHeadDim - headDim) / partsPerHead },
  ]).flat();
  return { kind: "take", of: source, axis, runs };
}
