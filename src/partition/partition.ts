/**
 * (graph, world) -> plan: a pure function. propagate.ts finds how everything lies; here every cut becomes each rank's
 * indices, and the plan is written down. The same graph and world give the same plan on every rank.
 */
import { PartitionError } from "../errors.ts";
import type { Dimension, Graph, Run, Weight } from "../model/graph.ts";
import { countWeightBytes } from "../model/packed-layout.ts";
import { readIntegers } from "../model/constants.ts";
import type { Cut } from "./cut.ts";
import {
  cutWeight,
  wayOfReading,
  type CollectivePlan,
  type NodePlan,
  type Plan,
  type Role,
  type Sharding,
  type WeightPlan,
} from "./plan.ts";
import { propagate } from "./propagate.ts";
import { PARTIAL, REPLICATE, type Flow, type Layout, type Step } from "./rule.ts";
import { countIndices } from "./runs.ts";
import { separateBias } from "./separate-bias.ts";
import { inferShapes, type Shape } from "./shapes.ts";
import type { Walk } from "./walk.ts";

/** The ranks among which a graph is cut. */
export interface World {
  readonly worldSize: number;
  /** One per rank, in any unit: a rank with twice the weight gets twice the heads and features. All equal if left out. */
  readonly rankWeights?: readonly number[];
}

/**
 * Decides how every weight is cut, how every value lies and where a collective goes.
 * @throws {PartitionError} when the world is none, or the graph contradicts itself.
 */
export function partition(graph: Graph, world: World): Plan {
  const rankWeights = checkWorld(world);
  const { worldSize } = world;
  const separated = separateBias(graph);
  const walk = propagate(separated, inferShapes(separated), worldSize);
  const shapes = inferShapes({ ...separated, nodes: walk.steps.map(({ node }) => node) });
  const deal = dealOnce(walk, rankWeights);
  return {
    worldSize,
    values: new Map([...walk.layouts].map(([name, layout]) => [name, settle(layout, deal)])),
    shapes,
    nodes: walk.steps.map((step) => planNode(step, worldSize, deal)),
    weights: planWeights(separated, walk, worldSize, deal),
    collectives: planCollectives(walk, shapes),
  };
}

/** Each rank's runs of a cut axis. */
type Deal = (cut: Cut) => readonly Run[][];

/** Each cut is dealt once, however many nodes it flows through. */
function dealOnce({ cuts }: Walk, rankWeights: readonly number[]): Deal {
  const dealt = new Map<Cut, Run[][]>();
  return (cut) => {
    const runs = dealt.get(cut) ?? cuts.deal(cut, rankWeights);
    dealt.set(cut, runs);
    return runs;
  };
}

function settle(layout: Layout, deal: Deal): Sharding {
  switch (layout.kind) {
    case "Replicate":
    case "Partial":
      return layout;
    case "Shard":
      return { kind: "Shard", axis: layout.axis, runs: deal(layout.cut) };
  }
}

function planNode({ node, flow }: Step, worldSize: number, deal: Deal): NodePlan {
  const { reads, writes, attributes = {}, constants = {} } = flow;
  const count = (size: number | Cut, rank: number): number =>
    typeof size === "number" ? size : countIndices(deal(size)[rank] ?? []);
  const ranks = Array.from({ length: worldSize }, (_, rank) => rank);
  return {
    node,
    inputs: node.inputs.map((_, i) => settle(reads[i] ?? REPLICATE, deal)),
    outputs: node.outputs.map((_, i) => settle(writes[i] ?? REPLICATE, deal)),
    attributes: mapValues(attributes, (local) =>
      ranks.map((rank) => ("value" in local ? local.value(deal(local.of)[rank] ?? []) : count(local, rank))),
    ),
    constants: mapValues(constants, (sizes) => ranks.map((rank) => sizes.map((size) => count(size, rank)))),
  };
}

function mapValues<Value, Result>(
  record: Readonly<Record<string, Value>>,
  change: (value: Value) => Result,
): Record<string, Result> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, change(value)]));
}

/** One entry for each way in which a weight is read. */
function planWeights(graph: Graph, walk: Walk, worldSize: number, deal: Deal): WeightPlan[] {
  const plans = new Map<string, WeightPlan>();
  const waysOf = new Map<string, number>();
  for (const { node, flow, origin } of walk.steps) {
    node.inputs.forEach((name, i) => {
      const weight = graph.weights.get(name);
      // Sizes, which say how to move elements, are no weights.
      if (weight === undefined || readIntegers(weight) !== undefined) return;
      const layout = flow.reads[i] ?? REPLICATE;
      const sharding = settle(layout, deal);
      const way = wayOfReading(name, sharding);
      if (plans.has(way)) return;
      const numWays = (waysOf.get(name) ?? 0) + 1;
      waysOf.set(name, numWays);
      plans.set(way, {
        weight: name,
        localName: numWays === 1 ? name : `${name}/${numWays}`,
        node: origin.name,
        shape: weight.shape,
        dataType: weight.dataType,
        packedBits: weight.packing?.bits,
        sharding,
        role: layout.kind === "Shard" ? roleOf(layout.cut, flow, walk) : "",
        rankBytes: Array.from({ length: worldSize }, (_, rank) => bytesOnRank(weight, sharding, rank)),
        reason: layout.kind === "Shard" ? "" : (flow.reason ?? ""),
      });
    });
  }
  return [...plans.values()];
}

function roleOf(cut: Cut, flow: Flow, { cuts, logits }: Walk): Role {
  if (flow.closes !== undefined) return "rowParallel";
  return logits !== undefined && cuts.areRelated(cut, logits.cut) ? "vocabularyParallel" : "columnParallel";
}

function bytesOnRank(weight: Weight, sharding: Sharding, rank: number): number {
  return countWeightBytes(cutWeight(weight, sharding, rank));
}

/** A collective for each value that is made whole, in the order of the nodes; the logits are, outside the graph. */
function planCollectives({ steps, layouts, madeWhole, logits }: Walk, shapes: ReadonlyMap<string, Shape>) {
  return steps.flatMap(({ node, origin }) =>
    node.outputs.flatMap((value): CollectivePlan[] => {
      const insideGraph = madeWhole.has(value);
      if (!insideGraph && (value !== "logits" || logits === undefined)) return [];
      const layout = layouts.get(value);
      const kind = layout?.kind === "Partial" ? "allReduce" : "allGather";
      const { dataType } = layout?.kind === "Partial" ? layout : PARTIAL;
      const shape = shapes.get(value);
      const elementsPerToken = countFixed(shape ?? []);
      return [{ kind, dataType, value, node: origin.name, shape, elementsPerToken, insideGraph }];
    }),
  );
}

/** Product of the sizes that are numbers. */
function countFixed(shape: readonly Dimension[]): number {
  return shape.reduce<number>((product, size) => (typeof size === "number" ? product * size : product), 1);
}

function checkWorld({ worldSize, rankWeights }: World): readonly number[] {
  if (!Number.isInteger(worldSize) || worldSize < 1) {
    throw new PartitionError(
      `Partitioning failed: expected worldSize to be a positive integer, received ${worldSize}.`,
    );
  }
  if (rankWeights === undefined) return Array.from({ length: worldSize }, () => 1);
  if (rankWeights.length !== worldSize) {
    throw new PartitionError(
      `Partitioning failed: expected one rank weight for each of ${worldSize} ranks, received ${rankWeights.length}.`,
    );
  }
  if (!rankWeights.every((weight) => weight >= 0 && weight < Infinity) || !rankWeights.some((weight) => weight > 0)) {
    throw new PartitionError(
      `Partitioning failed: expected rank weights that are 0 or more, finite and not all 0, received [${rankWeights.join(", ")}].`,
    );
  }
  return rankWeights;
}
