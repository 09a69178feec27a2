/**
 * Ops that look at one element at a time. They pass a cut on, and cut along what is broadcast to it (a bias, a scale);
 * only a sum of sums may stay Partial, for f(a + b) is not f(a) + f(b).
 *
 *     x Shard(a)  op  y Shard(a), the same units  ->  Shard(a)
 *     x Shard(a)  op  bias weight                 ->  Shard(a), the bias cut alike
 *     x Partial   +   y Partial                   ->  Partial
 *     x Partial   op  anything else               ->  allReduce x first
 */
import { PARTIAL, alignWith, findCut, shard, whole, type Rule } from "../rule.ts";

/** Activations and arithmetic, with ONNX's broadcasting: shapes are aligned at their last axes. */
export const elementwise: Rule = (step) => {
  const found = findCut(step);
  if (found === undefined) return whole(step, "applied to whole values");
  const ndim = Math.max(...step.inputs.map(({ shape }) => shape?.length ?? 0));
  const fromTheRight = found.axis - found.ndim;
  const reads = step.inputs.map(({ shape }, i) => alignWith(step, i, fromTheRight + (shape?.length ?? 0), found.cut));
  if (!reads.every((layout) => layout !== undefined)) return whole(step, "its inputs are not cut alike");
  return { reads, writes: step.node.outputs.map(() => shard(fromTheRight + ndim, found.cut)) };
};

/** Add, Sub, Identity: elementwise, and linear: summands in, summands out. */
export const linear: Rule = (step) => {
  if (step.inputs.every(({ layout }) => layout.kind === "Partial")) {
    return { reads: step.inputs.map(() => PARTIAL), writes: [PARTIAL] };
  }
  return findCut(step) === undefined ? whole(step, "added once, to a whole value") : elementwise(step);
};
