/**
 * How heads lie in the graph. onnxruntime's GroupQueryAttention wants a head_dim that is a multiple of 8, of 16 with rotary positions;
 * heads of another size get zero rows and columns in the weights around the attention: zeros add nothing to q.k, and nothing to
 * the output. Rotary positions turn element i with element i + H/2, so there each half is padded on its own. Where only the first
 * elements of a head are turned, the others are dealt to the two halves, behind them, and turned by nothing.
 *
 *     headDim 12, rotaryDim 8, paddedHeadDim 16:   0 1 2 3  8 9  - -   4 5 6 7  10 11  - -
 */
import { ModelError } from "../errors.ts";
import type { Run, WeightSource } from "./graph.ts";

/** Many times what any model has; what is larger would fill memory with position tables before a tensor could contradict it. */
const MAX_HEAD_DIM = 16_384;

/** The size of one head, real and in the graph. */
export interface HeadLayout {
  readonly headDim: number;
  readonly paddedHeadDim: number;
  /** How many elements of a head are turned, an even number; 0: positions are not rotary. */
  readonly rotaryDim: number;
}

/**
 * The layout for heads of this size.
 * @throws {ModelError} when no model can have it
 */
export function layOutHeads(headDim: number, rotaryDim: number): HeadLayout {
  if (headDim > MAX_HEAD_DIM) {
    throw new ModelError(`Heads of size ${headDim}: expected at most ${MAX_HEAD_DIM}. Check config.json.`);
  }
  const unit = rotaryDim > 0 ? 16 : 8;
  return { headDim, paddedHeadDim: Math.ceil(headDim / unit) * unit, rotaryDim };
}

/** Rearranges `axis` of a weight source, numHeads heads of headDim, to heads as they lie in the graph. */
export function padHeads(source: WeightSource, axis: number, numHeads: number, layout: HeadLayout): WeightSource {
  const { headDim, paddedHeadDim, rotaryDim } = layout;
  const isWhole = rotaryDim === 0 || rotaryDim === headDim;
  if (isWhole && headDim === paddedHeadDim) return source;
  const runs = Array.from({ length: numHeads }, (_, head) => runsOfHead(layout, head * headDim)).flat();
  return { kind: "take", of: source, axis, runs };
}

function runsOfHead({ headDim, paddedHeadDim, rotaryDim }: HeadLayout, start: number): Run[] {
  const run = (begin: number, end: number): Run => ({ begin: start + begin, end: start + end });
  if (rotaryDim === 0) return [run(0, headDim), { zeros: paddedHeadDim - headDim }];
  const half = rotaryDim / 2;
  const middle = rotaryDim + (headDim - rotaryDim) / 2;
  const padding = { zeros: (paddedHeadDim - headDim) / 2 };
  const runs = [
    ...[run(0, half), run(rotaryDim, middle), padding],
    ...[run(half, rotaryDim), run(middle, headDim), padding],
  ];
  return runs.filter((part) => ("zeros" in part ? part.zeros > 0 : part.begin < part.end));
}
