/**
 * The plan: for every weight how it is cut, for every value how it lies, where a collective goes.
 * Only data; partition.ts makes it, rewrite.ts turns it into one rank's graph, print.ts shows it to people.
 */
import type { Run } from "../model/graph.ts";

/** How a value or weight lies over the ranks (DTensor's placements). */
export type Sharding =
  | { readonly kind: "Replicate" }
  /** `axis` is cut; `runs[rank]` are that rank's indices of the whole axis, in order. */
  | { readonly kind: "Shard"; readonly axis: number; readonly runs: readonly (readonly Run[])[] }
  /** Every rank holds a summand. */
  | { readonly kind: "Partial"; readonly op: "sum" };

export interface WeightPlan {
  readonly weight: string;
  readonly shape: readonly number[];
  readonly sharding: Sharding;
  /** "columnParallel", "rowParallel", "vocabularyParallel" or "" */
  readonly role: string;
  /** Bytes in the graph's own data type, per rank. */
  readonly rankBytes: readonly number[];
  /** Why it is not cut; "" when it is. */
  readonly reason: string;
}

export interface CollectivePlan {
  readonly kind: "allReduce" | "allGather";
  /** The value that is made whole. */
  readonly value: string;
  /** The node that produced it. */
  readonly node: string;
  /** Elements per new token (product of the fixed axes). */
  readonly elementsPerToken: number;
}

export interface Plan {
  readonly worldSize: number;
  readonly values: ReadonlyMap<string, Sharding>;
  readonly weights: readonly WeightPlan[];
  readonly collectives: readonly CollectivePlan[];
}
