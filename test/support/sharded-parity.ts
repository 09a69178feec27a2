/** Runs a graph whole and cut, and says where the two differ. */
import type { Graph } from "../../src/model/graph.ts";
import { partition, type World } from "../../src/partition/partition.ts";
import type { Plan, Sharding } from "../../src/partition/plan.ts";
import { listIndices, type Stretch } from "../../src/partition/runs.ts";
import { shardGraph } from "../../src/partition/shard-graph.ts";
import { runGraph, runWorld, type Values } from "./interpreter.ts";
import { describeShape, take, tensorOf, type Tensor } from "./tensor.ts";

export interface Sizes {
  readonly batch: number;
  readonly numNew: number;
  readonly vocabSize: number;
}

/** Feeds for the graph inputs of the contract: `batch` rows, `numNew` tokens of which the caches hold none or one before. */
export function makeFeeds(graph: Graph, { batch, numNew, vocabSize }: Sizes): Values {
  const numPast = 1;
  const sizes: Readonly<Record<string, number>> = { B: batch, S: numNew, M: numNew > 1 ? 2 : 1 };
  return new Map(
    graph.inputs.map(({ name, shape }): [string, Tensor] => {
      const concrete = shape.map((size) => (typeof size === "number" ? size : sizes[size]!));
      const fill: (index: readonly number[]) => number =
        name === "input_ids"
          ? ([b, s]) => (b! * 5 + s! * 3 + 1) % vocabSize
          : name === "seqlens_k"
            ? () => numPast + numNew - 1
            : name === "total_sequence_length"
              ? () => numPast + numNew
              : name === "logits_positions"
                ? ([m]) => (m === 0 ? numNew - 1 : 0)
                : (index) => Math.sin(index.reduce((sum, i) => sum * 7 + i + 1, name.length));
      return [name, tensorOf(concrete, fill)];
    }),
  );
}

export interface Comparison {
  readonly plan: Plan;
  readonly graphs: readonly Graph[];
  /** The largest difference of any output on any rank. */
  readonly difference: number;
}

/** The largest difference between the whole graph's outputs and the ranks'. Throws when they do not even fit. */
export function compareSharded(graph: Graph, world: World, sizes: Sizes): Comparison {
  const feeds = makeFeeds(graph, sizes);
  const expected = runGraph(graph, feeds);
  const plan = partition(graph, world);
  const graphs = Array.from({ length: world.worldSize }, (_, rank) => shardGraph(graph, plan, rank));
  const outputs = runWorld(
    graphs,
    graphs.map((local, rank) => {
      return new Map(local.inputs.map(({ name }) => [name, shardOf(feeds.get(name)!, plan.values.get(name)!, rank)]));
    }),
  );
  let difference = 0;
  graphs.forEach((local, rank) => {
    for (const { name } of graph.outputs) {
      const isWhole = plan.collectives.some((entry) => entry.value === name && entry.insideGraph);
      const wanted = isWhole ? expected.get(name)! : shardOf(expected.get(name)!, plan.values.get(name)!, rank);
      if (!local.outputs.some((output) => output.name === name)) {
        if (wanted.data.length > 0) throw new Error(`rank ${rank} lacks output "${name}"`);
        continue;
      }
      difference = Math.max(difference, distance(outputs[rank]!.get(name)!, wanted));
    }
  });
  return { plan, graphs, difference };
}

/** What a rank holds of a value. */
export function shardOf(whole: Tensor, sharding: Sharding, rank: number): Tensor {
  if (sharding.kind === "Partial") throw new Error("a summand has no part in the whole");
  if (sharding.kind === "Replicate") return whole;
  return take(whole, sharding.axis, listIndices((sharding.runs[rank] ?? []) as Stretch[]));
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
