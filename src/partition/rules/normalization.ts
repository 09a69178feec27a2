/**
 * Ops that look along one axis as a whole: norms and Softmax. Cut before that axis (per-head norms, attention
 * probabilities) they are left as they are; cut at or after it the input is made whole.
 */
import { findCut, intAttribute, normalizeAxis, carry, whole, type Rule } from "../rule.ts";

/** Norms over `axis` and all after it; Softmax over `axis` alone. Scale and bias lie along the normalised axes. */
export const normalization: Rule = (op) => {
  const found = findCut(op);
  if (found === undefined) return whole(op, "a norm needs every feature");
  const axis = normalizeAxis(intAttribute(op.node, "axis", -1), found.ndim);
  if (found.axis >= axis) return whole(op, `${op.node.opType} needs the whole axis ${axis}`);
  return carry(op, op.inputs[0]!.layout);
};

/** A norm of x + skip (+ bias), which also gives the sum: both must be whole. */
export const skipNormalization: Rule = (op) => whole(op, "a norm needs every feature");
