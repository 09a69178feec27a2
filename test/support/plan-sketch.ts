/**
 * Plans of small sketches, in words: where each value and weight lies, and which collectives there are. planOf also computes
 * every cut, beside the whole graph.
 */
import { expect } from "@jest/globals";
import type { Graph } from "../../src/model/graph.ts";
import type { Plan } from "../../src/partition/plan.ts";
import { GraphSketch, PLAIN } from "./graph-sketch.ts";
import { compareSharded } from "./sharded-parity.ts";

/** Sizes of the sketches: hidden features, and those between two products. */
export const D = 8;
export const F = 12;

/** Every cut of these sketches must also compute the right thing. */
export function planOf(sketch: GraphSketch, worldSize = 2): Plan {
  return planOfGraph(sketch.build(), worldSize);
}

export function planOfGraph(graph: Graph, worldSize: number): Plan {
  const { plan, difference } = compareSharded(graph, { worldSize }, { batch: 2, numNew: 3, vocabSize: 7 });
  expect(difference).toBeLessThan(1e-9);
  return plan;
}

export function lies(plan: Plan, value: string): string {
  const sharding = plan.values.get(value)!;
  return sharding.kind === "Shard" ? `Shard(${sharding.axis})` : sharding.kind;
}

export function weightsOf(plan: Plan): string[] {
  return plan.weights.map(({ node, sharding, role, reason }) =>
    [node, sharding.kind === "Shard" ? `Shard(${sharding.axis})` : sharding.kind, role || reason].join(" "),
  );
}

export function collectivesOf(plan: Plan): string[] {
  return plan.collectives.map(({ kind, value, insideGraph }) => `${kind} ${value}${insideGraph ? "" : " outside"}`);
}

/** x -> up -> (something) -> down, whose names are fixed. */
export function sandwich(between: (sketch: GraphSketch, x: string) => string, width = F): GraphSketch {
  const sketch = new GraphSketch();
  const up = sketch.product(sketch.embed(7, D), D, F, PLAIN, "up");
  const down = sketch.product(between(sketch, up), width, D, PLAIN, "down");
  sketch.output(sketch.node("Relu", [down], {}, "last"), ["B", "S", D]);
  return sketch;
}
