/** Runs a graph whole and cut, and says where the two differ. */
import type { Graph } from "../../src/model/graph.ts";
import { partition, type World } from "../../src/partition/partition.ts";
import type { Plan, Sharding } from "../../src/partition/plan.ts";
import { listIndices } from "../../src/partition/runs.ts";
import { shardGraph } from "../../src/partition/shard-graph.ts";
import { CACHE_LENGTH } from "./graph-sketch.ts";
import { runGraph, runWorld, type Values } from "./interpreter.ts";
import { describeShape, take, tensorOf, type Tensor } from "./tensor.ts";

export interface Sizes {
  readonly batch: number;
  readonly numNew: number;
  readonly vocabSize: number;
}

/** Feeds for the graph inputs of the contract: `batch` rows, `numNew` tokens after one that the caches hold. */
export function makeFeeds(graph: Graph, { batch, numNew, vocabSize }: Sizes): Values {
  const numPast = 1;
  const sizes: Readonly<Record<string, number>> = { B: batch, S: numNew, M: numNew > 1 ? 2 : 1, T: CACHE_LENGTH };
  const fills: Readonly<Record<string, (index: readonly number[]) => number>> = {
    input_ids: ([b, s]) => (b! * 5 + s! * 3 + 1) % vocabSize,
    position_ids: ([, s]) => numPast + s!,
    seqlens_k: () => numPast + numNew - 1,
    total_sequence_length: () => numPast + numNew,
    logits_positions: ([m]) => (m === 0 ? numNew - 1 : 0),
  };
  return new Map(
    graph.inputs.map(({ name, shape }): [string, Tensor] => {
      const concrete = shape.map((size) => (typeof size === "number" ? size : sizes[size]!));
      const made = (index: readonly number[]): number =>
        Math.sin(index.reduce((sum, i) => sum * 7 + i + 1, name.length));
      return [name, tensorOf(concrete, fills[name] ?? made)];
    }),
  );
}

export interface Comparison {
  readonly plan: Plan;
  readonly graphs: readonly Graph[];
  /** The largest difference of any output on any rank. */
  readonly difference: number;
}

/** Cuts a graph and compares. */
export function compareSharded(graph: Graph, world: World, sizes: Sizes): Comparison {
  const plan = partition(graph, world);
  const graphs = Array.from({ length: world.worldSize }, (_, rank) => shardGraph(graph, plan, rank));
  return { plan, graphs, difference: compareGraphs(graph, graphs, plan, sizes) };
}

/** The largest difference between the whole graph's outputs and the ranks'. Throws when they do not even fit. */
export function compareGraphs(graph: Graph, shards: readonly Graph[], plan: Plan, sizes: Sizes): number {
  const feeds = makeFeeds(graph, sizes);
  const expected = runGraph(graph, feeds);
  const localFeeds = shards.map(({ inputs }, rank) => {
    return new Map(inputs.map(({ name }) => [name, shardOf(feeds.get(name)!, plan.values.get(name)!, rank)]));
  });
  const outputs = runWorld(shards, localFeeds);
  let difference = 0;
  shards.forEach((shard, rank) => {
    for (const { name } of graph.outputs) {
      const isWhole = plan.collectives.some((entry) => entry.value === name && entry.insideGraph);
      const wanted = isWhole ? expected.get(name)! : shardOf(expected.get(name)!, plan.values.get(name)!, rank);
      if (shard.outputs.some((output) => output.name === name)) {
        difference = Math.max(difference, distance(outputs[rank]!.get(name)!, wanted));
      } else if (wanted.data.length > 0) throw new Error(`rank ${rank} lacks output "${name}"`);
    }
  });
  return difference;
}

/** What a rank holds of a value. */
export function shardOf(whole: Tensor, sharding: Sharding, rank: number): Tensor {
  if (sharding.kind === "Partial") throw new Error("a summand has no part in the whole");
  if (sharding.kind === "Replicate") return whole;
  return take(whole, sharding.axis, listIndices(sharding.runs[rank] ?? []));
}

function distance(a: Tensor, b: Tensor): number {
  if (describeShape(a.shape) !== describeShape(b.shape)) {
    throw new Error(`${describeShape(a.shape)} is not ${describeShape(b.shape)}`);
  }
  return a.data.reduce((largest, value, i) => {
    const apart = Math.abs(value - b.data[i]!) / (1 + Math.abs(value));
    if (Number.isNaN(apart)) throw new Error("not a number");
    return Math.max(largest, apart);
  }, 0);
}
