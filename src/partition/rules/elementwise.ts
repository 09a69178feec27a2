/**
 * Ops that look at one element at a time. They pass a cut on, and cut along what is broadcast to it (a bias, a scale);
 * only a sum of sums may stay Partial, for f(a + b) is not f(a) + f(b).
 *
 *     x Shard(a)  op  y Shard(a), the same units  ->  Shard(a)
 *     x Shard(a)  op  bias weight                 ->  Shard(a), the bias cut alike
 *     x Partial   +   y Partial                   ->  Partial
 *     x Partial   op  anything else               ->  allReduce x first
 */
import { addedLater, alignWith, findCut, shard, whole, type Rule } from "../rule.ts";

/** Activations and arithmetic, with ONNX's broadcasting: shapes are aligned at their last axes. */
export const elementwise: Rule = (op) => {
  const found = findCut(op);
  if (found === undefined) return whole(op, "applied to whole values");
  const ndim = Math.max(...op.inputs.map(({ shape }) => shape?.length ?? 0));
  const fromTheRight = found.axis - found.ndim;
  const reads = op.inputs.map(({ shape }, i) => alignWith(op, i, fromTheRight + (shape?.length ?? 0), found.cut));
  if (!reads.every((layout) => layout !== undefined)) return whole(op, "its inputs are not cut alike");
  return { reads, writes: op.node.outputs.map(() => shard(fromTheRight + ndim, found.cut)) };
};

/** Add, Sub, Identity: elementwise, and linear: summands in, summands out. */
export const linear: Rule = (op) => {
  const sums = addedLater(op);
  if (sums !== undefined) return sums;
  return findCut(op) === undefined ? whole(op, "added once, to a whole value") : elementwise(op);
};
