/**
 * Ops that move elements and compute nothing. They are linear, so a Partial passes; a cut passes when its axis can be
 * followed, and learns where the axis is taken apart: Split and Concat pack parts, Reshape shows the units.
 */
import { packed, scaled, units, type Cut } from "../cut.ts";
import {
  PARTIAL,
  alignWith,
  carry,
  findCut,
  intAttribute,
  normalizeAxis,
  shard,
  whole,
  type Flow,
  type Rule,
  type Step,
} from "../rule.ts";
import { evenSizes, reshapeTo } from "../shapes.ts";

/** Follows a cut of the first input; other inputs say how to move, and stay whole. */
function movement(follow: (step: Step, axis: number, cut: Cut, ndim: number) => Flow): Rule {
  return (step) => {
    const [x] = step.inputs;
    if (x?.layout.kind === "Partial") return carry(step, 0, PARTIAL);
    if (x?.layout.kind !== "Shard") return whole(step, "its input is whole");
    if (x.shape === undefined) return whole(step, "the shape of its input is not known");
    return follow(step, x.layout.axis, x.layout.cut, x.shape.length);
  };
}

/** [.., N, H] <-> [.., N*H]: what stands before the cut axis stays, the axis is split into units or joined from them. */
export const reshape = movement((step, axis, cut) => {
  const from = step.inputs[0]?.shape ?? [];
  const request = step.inputs[1]?.values;
  const to = request && reshapeTo(from, request);
  if (request === undefined || to === undefined) return whole(step, "the new shape is not known");
  const oldSize = Number(from[axis]);
  const newSize = Number(to[axis]);
  const samePrefix = from.slice(0, axis).every((size, i) => size === to[i]);
  const isSplit = samePrefix && oldSize % newSize === 0;
  const isJoined = samePrefix && newSize % oldSize === 0;
  if (!isSplit && !isJoined) return whole(step, `axis ${axis} cannot be followed through the new shape`);

  const newCut = isSplit ? units(newSize) : scaled(cut, newSize / oldSize);
  if (isSplit && !step.cuts.unify(cut, scaled(newCut, oldSize / newSize))) {
    return whole(step, `the cut is not made of units of ${oldSize / newSize}`);
  }
  const localRequest = request.map((size, i) => (i === axis && size > 0 ? newCut : size));
  return { ...carry(step, 0, step.inputs[0]!.layout, shard(axis, newCut)), constants: { 1: localRequest } };
});

/** The cut axis goes where the permutation sends it. */
export const transpose = movement((step, axis, cut, ndim) => {
  const attribute = step.node.attributes.perm;
  const perm = attribute?.kind === "ints" ? attribute.value : Array.from({ length: ndim }, (_, i) => ndim - 1 - i);
  return carry(step, 0, step.inputs[0]!.layout, shard(perm.indexOf(axis), cut));
});

/** Along the cut axis: the parts are dealt each on its own. Along another: every output is cut alike. */
export const split = movement((step, axis, cut, ndim) => {
  if (normalizeAxis(intAttribute(step.node, "axis", 0), ndim) !== axis) return carry(step, 0, step.inputs[0]!.layout);
  const sizes = step.inputs[1]?.values ?? evenSizes(Number(step.inputs[0]?.shape?.[axis]), step.node.outputs.length);
  const parts = sizes.map(units);
  if (!step.cuts.unify(cut, packed(parts))) return whole(step, `the cut has no borders at ${sizes.join(" + ")}`);
  return {
    ...carry(step, 0, step.inputs[0]!.layout),
    writes: parts.map((part) => shard(axis, part)),
    constants: { 1: parts },
  };
});

/** Gather of one axis of a value; the table of an embedding is a weight and stays whole. */
export const gather: Rule = (step) => {
  const [data, indices] = step.inputs;
  if (data?.free) return whole(step, "every rank looks up rows of it");
  return movement((_, axis, cut, ndim) => {
    const gathered = normalizeAxis(intAttribute(step.node, "axis", 0), ndim);
    if (gathered === axis || indices?.shape === undefined)
      return whole(step, `indices reach over the whole axis ${axis}`);
    const newAxis = axis < gathered ? axis : axis - 1 + indices.shape.length;
    return carry(step, 0, data!.layout, shard(newAxis, cut));
  })(step);
};

/** A stretch of other axes. */
export const slice = movement((step, axis, _cut, ndim) => {
  const axes = step.inputs[3]?.values?.map((value) => normalizeAxis(value, ndim));
  if (axes === undefined || axes.includes(axis)) return whole(step, `a stretch of the cut axis ${axis} is taken`);
  return carry(step, 0, step.inputs[0]!.layout);
});

/** Along the cut axis: the inputs become packed parts. Along another: all must be cut alike. */
export const concat: Rule = (step) => {
  if (step.inputs.every(({ layout }) => layout.kind === "Partial")) {
    return { reads: step.inputs.map(() => PARTIAL), writes: [PARTIAL] };
  }
  const found = findCut(step);
  if (found === undefined) return whole(step, "its inputs are whole");
  const joinsTheCut = normalizeAxis(intAttribute(step.node, "axis", 0), found.ndim) === found.axis;
  if (joinsTheCut) {
    const cuts = step.inputs.map(({ layout }) =>
      layout.kind === "Shard" && layout.axis === found.axis ? layout.cut : undefined,
    );
    if (!cuts.every((cut) => cut !== undefined)) return whole(step, "not all of its inputs are cut");
    return { reads: step.inputs.map(({ layout }) => layout), writes: [shard(found.axis, packed(cuts))] };
  }
  const reads = step.inputs.map((_, i) => alignWith(step, i, found.axis, found.cut));
  if (!reads.every((layout) => layout !== undefined)) return whole(step, "its inputs are not cut alike");
  return { reads, writes: [shard(found.axis, found.cut)] };
};
