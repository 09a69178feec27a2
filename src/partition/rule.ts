/**
 * What a rule sees and what it says. A rule is a pure function of one node and of how its inputs lie; it says how each
 * input must be read and how each output lies. Rules never reduce or gather: reading a value otherwise than it lies is
 * what asks for the collective, and partition.ts writes it down.
 */
import { PartitionError } from "../errors.ts";
import type { Dimension, GraphNode, Run } from "../model/graph.ts";
import { axisSize, type Cut, type Cuts } from "./cut.ts";
import type { PartialLayout } from "./plan.ts";

/** How a value lies, with the cut still open to learn more (plan.ts has the same with each rank's runs). */
export type Layout = { readonly kind: "Replicate" } | ShardLayout | PartialLayout;

export interface ShardLayout {
  readonly kind: "Shard";
  readonly axis: number;
  readonly cut: Cut;
}

export const REPLICATE: Layout = { kind: "Replicate" };
export const PARTIAL: PartialLayout = { kind: "Partial", dataType: "float32" };

/** Cut along `axis`. */
export function shard(axis: number, cut: Cut): ShardLayout {
  return { kind: "Shard", axis, cut };
}

/** One input of a node. An optional input left out has the name "". */
export interface Operand {
  readonly name: string;
  /** Undefined where the graph does not tell. */
  readonly shape: readonly Dimension[] | undefined;
  readonly layout: Layout;
  /** A weight, or a cache input not yet read: it may be read in any layout without a collective. */
  readonly free: boolean;
  /** The numbers of an integer constant. */
  readonly values: readonly number[] | undefined;
}

/** One node as its rule sees it. */
export interface Op {
  readonly node: GraphNode;
  readonly inputs: readonly Operand[];
  readonly cuts: Cuts;
  readonly worldSize: number;
  /** Set when an earlier walk found that this node must not open a cut: why. */
  readonly refusal: string | undefined;
}

/** A node and what is said of it. */
export interface Step {
  readonly node: GraphNode;
  readonly flow: Flow;
}

/** What a rule says. */
export interface Flow {
  /** How each input is read. */
  readonly reads: readonly Layout[];
  /** How each output lies. */
  readonly writes: readonly Layout[];
  /** The cut that begins here: a column-parallel product. */
  readonly opens?: Cut;
  /** The cut that ends here: a row-parallel product. */
  readonly closes?: Cut;
  /** Whether `closes` must give each rank a single stretch of indices. */
  readonly closesStretch?: boolean;
  /** Why inputs are made whole, or weights stay whole. */
  readonly reason?: string;
  /** Integer attributes that follow from this rank's indices of a cut: how many there are, unless it says what. */
  readonly attributes?: Readonly<Record<string, Cut | LocalAttribute>>;
  /** Integer lists read as inputs, by input index; a cut in them becomes the number of this rank's indices. */
  readonly constants?: Readonly<Record<number, readonly (number | Cut)[]>>;
  /** The node is carried out as these instead, so that there is a value between them to reduce. */
  readonly becomes?: readonly Step[];
}

/** What an attribute is on a rank that has these indices of a cut. */
export interface LocalAttribute {
  readonly of: Cut;
  readonly value: (indices: readonly Run[]) => number;
}

export type Rule = (op: Op) => Flow;

/** Everything whole: the answer where nothing better is right. */
export function whole(op: Op, reason: string): Flow {
  return { reads: op.inputs.map(() => REPLICATE), writes: op.node.outputs.map(() => REPLICATE), reason };
}

/** The first input read in this layout, all others whole; every output lies alike, or as `output` says. */
export function carry(op: Op, layout: Layout, output: Layout = layout): Flow {
  return {
    reads: op.inputs.map((_, i) => (i === 0 ? layout : REPLICATE)),
    writes: op.node.outputs.map(() => output),
    reason: "the same for every index of the cut axis",
  };
}

/** Summands in, summands out: for a linear op whose inputs are all sums still to be added up; undefined for others. */
export function addedLater(op: Op): Flow | undefined {
  const areSums = op.inputs.every(({ layout }) => layout.kind === "Partial");
  return areSums ? { reads: op.inputs.map(() => PARTIAL), writes: [PARTIAL] } : undefined;
}

/**
 * How an operand is read beside another that is cut: `axis` of it must be cut alike.
 * An operand left out, or with nothing to cut there (no such axis, or size 1), is read whole.
 * @returns undefined when it cannot be read so.
 */
export function alignWith(op: Op, index: number, axis: number, cut: Cut): Layout | undefined {
  const operand = op.inputs[index];
  if (operand === undefined || operand.name === "") return REPLICATE;
  if (operand.shape === undefined) return undefined;
  const { layout, free } = operand;
  if (layout.kind === "Shard" && layout.axis === axis && op.cuts.unify(layout.cut, cut)) return layout;
  const size = operand.shape[axis];
  if (free && size === axisSize(cut)) return shard(axis, cut);
  return size === undefined || size === 1 ? REPLICATE : undefined;
}

/** The first input that is cut, and how. */
export function findCut(op: Op): { index: number; axis: number; cut: Cut; ndim: number } | undefined {
  for (const [index, { layout, shape }] of op.inputs.entries()) {
    if (layout.kind !== "Shard" || shape === undefined) continue;
    return { index, axis: layout.axis, cut: layout.cut, ndim: shape.length };
  }
  return undefined;
}

/** An integer attribute. */
export function intAttribute(node: GraphNode, name: string, otherwise: number): number {
  const attribute = node.attributes[name];
  return attribute?.kind === "int" ? attribute.value : otherwise;
}

/** An axis counted from the front. */
export function normalizeAxis(axis: number, ndim: number): number {
  return axis < 0 ? axis + ndim : axis;
}

/** A graph that is wrong whatever the world: names node, op, shapes and what would be right. */
export function wrongGraph(op: Op, what: string, remedy: string): PartitionError {
  const shapes = op.inputs
    .filter((input) => input.name !== "")
    .map((input) => `"${input.name}" ${input.shape === undefined ? "of unknown shape" : `[${input.shape.join(", ")}]`}`)
    .join(", ");
  return new PartitionError(
    `Partitioning node "${op.node.name}" (${op.node.opType}) failed: ${what}; its inputs are ${shapes}. ${remedy}`,
  );
}
