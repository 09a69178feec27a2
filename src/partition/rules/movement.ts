/**
 * Ops that move elements and compute nothing. They are linear, so a Partial passes; a cut passes when its axis can be
 * followed, and learns where the axis is taken apart: Split and Concat pack parts, Reshape shows the units.
 */
import { packed, scaled, units, type Cut } from "../cut.ts";
import {
  addedLater,
  alignWith,
  carry,
  findCut,
  intAttribute,
  normalizeAxis,
  shard,
  whole,
  type Flow,
  type Op,
  type Rule,
} from "../rule.ts";
import { evenSizes, reshapeTo } from "../shapes.ts";

/** Follows a cut of the first input; other inputs say how to move, and stay whole. */
function movement(follow: (op: Op, axis: number, cut: Cut, ndim: number) => Flow): Rule {
  return (op) => {
    const [x] = op.inputs;
    if (x?.layout.kind === "Partial") return carry(op, x.layout);
    if (x?.layout.kind !== "Shard") return whole(op, "its input is whole");
    if (x.shape === undefined) return whole(op, "the shape of its input is not known");
    return follow(op, x.layout.axis, x.layout.cut, x.shape.length);
  };
}

/** [.., N, H] <-> [.., N*H]: what stands before the cut axis stays, the axis is split into units or joined from them. */
export const reshape = movement((op, axis, cut) => {
  const from = op.inputs[0]?.shape ?? [];
  const request = op.inputs[1]?.values;
  const to = request && reshapeTo(from, request);
  if (request === undefined || to === undefined) return whole(op, "the new shape is not known");
  const oldSize = Number(from[axis]);
  const newSize = Number(to[axis]);
  const isSplit = oldSize % newSize === 0;
  const isJoined = newSize % oldSize === 0;
  const hasSamePrefix = from.slice(0, axis).every((size, i) => size === to[i]);
  const isInserted = newSize === 1 && oldSize > 1;
  if (!hasSamePrefix || isInserted || (!isSplit && !isJoined))
    return whole(op, `axis ${axis} cannot be followed through the new shape`);

  const newCut = isSplit ? units(newSize) : scaled(cut, newSize / oldSize);
  if (isSplit && !op.cuts.unify(cut, scaled(newCut, oldSize / newSize))) {
    return whole(op, `the cut is not made of units of ${oldSize / newSize}`);
  }
  const localRequest = request.map((size, i) => (i === axis && size > 0 ? newCut : size));
  return { ...carry(op, op.inputs[0]!.layout, shard(axis, newCut)), constants: { 1: localRequest } };
});

/** The cut axis goes where the permutation sends it. */
export const transpose = movement((op, axis, cut, ndim) => {
  const attribute = op.node.attributes.perm;
  const perm = attribute?.kind === "ints" ? attribute.value : Array.from({ length: ndim }, (_, i) => ndim - 1 - i);
  return carry(op, op.inputs[0]!.layout, shard(perm.indexOf(axis), cut));
});

/** Along the cut axis: the parts are dealt each on its own. Along another: every output is cut alike. */
export const split = movement((op, axis, cut, ndim) => {
  if (normalizeAxis(intAttribute(op.node, "axis", 0), ndim) !== axis) return carry(op, op.inputs[0]!.layout);
  const sizes = op.inputs[1]?.values ?? evenSizes(Number(op.inputs[0]?.shape?.[axis]), op.node.outputs.length);
  const parts = sizes.map(units);
  if (!op.cuts.unify(cut, packed(parts))) return whole(op, `the cut has no borders at ${sizes.join(" + ")}`);
  return {
    ...carry(op, op.inputs[0]!.layout),
    writes: parts.map((part) => shard(axis, part)),
    constants: { 1: parts },
  };
});

/** Gather along another axis than the cut one. */
const gatherValues = movement((op, axis, cut, ndim) => {
  const indices = op.inputs[1]?.shape;
  const gathered = normalizeAxis(intAttribute(op.node, "axis", 0), ndim);
  if (gathered === axis || indices === undefined) return whole(op, `indices reach over the whole axis ${axis}`);
  return carry(op, op.inputs[0]!.layout, shard(axis < gathered ? axis : axis - 1 + indices.length, cut));
});

/** An embedding gathers from a weight, the table, which stays whole; any other Gather moves values. */
export const gather: Rule = (op) =>
  op.inputs[0]?.free ? whole(op, "every rank looks up rows of it") : gatherValues(op);

/** A stretch of other axes. */
export const slice = movement((op, axis, _cut, ndim) => {
  const axes = op.inputs[3]?.values?.map((value) => normalizeAxis(value, ndim));
  if (axes === undefined || axes.includes(axis)) return whole(op, `a stretch of the cut axis ${axis} is taken`);
  return carry(op, op.inputs[0]!.layout);
});

/** Along the cut axis: the inputs become packed parts. Along another: all must be cut alike. */
export const concat: Rule = (op) => {
  const sums = addedLater(op);
  if (sums !== undefined) return sums;
  const found = findCut(op);
  if (found === undefined) return whole(op, "its inputs are whole");
  const joinsTheCut = normalizeAxis(intAttribute(op.node, "axis", 0), found.ndim) === found.axis;
  if (joinsTheCut) {
    const cuts = op.inputs.map(({ layout }) =>
      layout.kind === "Shard" && layout.axis === found.axis ? layout.cut : undefined,
    );
    if (!cuts.every((cut) => cut !== undefined)) return whole(op, "not all of its inputs are cut");
    return { reads: op.inputs.map(({ layout }) => layout), writes: [shard(found.axis, packed(cuts))] };
  }
  const reads = op.inputs.map((_, i) => alignWith(op, i, found.axis, found.cut));
  if (!reads.every((layout) => layout !== undefined)) return whole(op, "its inputs are not cut alike");
  return { reads, writes: [shard(found.axis, found.cut)] };
};
