/**
 * The plan: for every weight how it is cut, for every value how it lies, where a collective goes.
 * Data only: partition.ts makes it, shard-graph.ts turns it into one rank's graph, print.ts shows it to people.
 */
import type { DataType, Dimension, GraphNode, Packing, Run, Weight } from "../model/graph.ts";
import { takeFromWeight } from "../model/packed-layout.ts";
import { countIndices } from "./runs.ts";

/** How a value or weight lies over the ranks (DTensor's placements). */
export type Sharding =
  | { readonly kind: "Replicate" }
  /** `axis` is cut; `runs[rank]` are that rank's indices of the whole axis, in order. */
  | { readonly kind: "Shard"; readonly axis: number; readonly runs: readonly (readonly Run[])[] }
  | PartialLayout;

/** Every rank holds a summand. */
export interface PartialLayout {
  readonly kind: "Partial";
  readonly dataType: "float32" | "int32";
}

/** How a weight takes part in a cut product; "" where it is replicated. */
export type Role = "columnParallel" | "rowParallel" | "vocabularyParallel" | "";

/** One way in which a weight is used; a weight used in two ways (tied embeddings) has two of these. */
export interface WeightPlan {
  readonly weight: string;
  /** Its name in the rank's graph: `weight`, or `weight/2` for the second way. */
  readonly localName: string;
  /** The first node that reads it so. */
  readonly node: string;
  /** Of the whole weight. */
  readonly shape: readonly number[];
  readonly dataType: DataType;
  /** Bits of a packed matrix's values; undefined for any other weight. */
  readonly packedBits: Packing["bits"] | undefined;
  readonly sharding: Sharding;
  readonly role: Role;
  /** Bytes as the graph reads it, per rank. */
  readonly rankBytes: readonly number[];
  /** Why it is not cut; "" when it is. */
  readonly reason: string;
}

export interface CollectivePlan {
  readonly kind: "allReduce" | "allGather";
  readonly dataType: "float32" | "int32";
  /** The value that is made whole. */
  readonly value: string;
  /** The graph's node that produced it. */
  readonly node: string;
  /** Of the whole value; undefined where the graph does not tell. */
  readonly shape: readonly Dimension[] | undefined;
  /** Elements of the whole value per new token (product of the fixed axes). */
  readonly elementsPerToken: number;
  /** False for the logits, which execute/ gathers after the graph has run. */
  readonly insideGraph: boolean;
}

/** What one node does on each rank. */
export interface NodePlan {
  readonly node: GraphNode;
  /** How each input is read; a value that lies otherwise is made whole first. */
  readonly inputs: readonly Sharding[];
  readonly outputs: readonly Sharding[];
  /** Integer attributes that follow from what is cut (num_heads): their value per rank. */
  readonly attributes: Readonly<Record<string, readonly number[]>>;
  /** Integer lists read as inputs (the shape of a Reshape): by input index, their values per rank. */
  readonly constants: Readonly<Record<number, readonly (readonly number[])[]>>;
}

export interface Plan {
  readonly worldSize: number;
  /** How each value lies where it is produced. */
  readonly values: ReadonlyMap<string, Sharding>;
  /** Of the whole values, as far as the graph tells. */
  readonly shapes: ReadonlyMap<string, readonly Dimension[]>;
  /** The graph's nodes in their order; a bias and the steps of an integer product are nodes of their own. */
  readonly nodes: readonly NodePlan[];
  readonly weights: readonly WeightPlan[];
  /** In the order in which every rank calls them. */
  readonly collectives: readonly CollectivePlan[];
}

/** What rank `rank` holds of a value or weight of this shape. */
export function localShape<Size extends Dimension>(
  shape: readonly Size[],
  sharding: Sharding,
  rank: number,
): (Size | number)[] {
  if (sharding.kind !== "Shard") return [...shape];
  return shape.map((size, axis) => (axis === sharding.axis ? countIndices(sharding.runs[rank] ?? []) : size));
}

/** The weight as rank `rank` holds it. */
export function cutWeight(weight: Weight, sharding: Sharding, rank: number): Weight {
  return sharding.kind === "Shard" ? takeFromWeight(weight, sharding.axis, sharding.runs[rank] ?? []) : weight;
}

/** Tells apart the ways in which weights are read. */
export function wayOfReading(weight: string, sharding: Sharding): string {
  return `${weight} ${JSON.stringify(sharding)}`;
}
