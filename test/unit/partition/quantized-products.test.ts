/** Quantized products in THE TABLE: int8 adds up counts and integers, int4 is cut at its blocks where it can be. */
import { expect, test } from "@jest/globals";
import type { ComputeOptions } from "../../../src/model/compute-type.ts";
import { quantizeGraph } from "../../../src/model/quantize.ts";
import type { Plan } from "../../../src/partition/plan.ts";
import { GraphSketch, PLAIN } from "../../support/graph-sketch.ts";
import { D, F, lies, planOfGraph, sandwich, weightsOf } from "../../support/plan-sketch.ts";
import { compareSharded } from "../../support/sharded-parity.ts";

const quantized = (sketch: GraphSketch, compute: ComputeOptions, worldSize: number): Plan =>
  planOfGraph(quantizeGraph(sketch.build(), compute), worldSize);
const relu = (sketch: GraphSketch, x: string): string => sketch.node("Relu", [x]);
const describeCollectives = (plan: Plan): string[] =>
  plan.collectives.map(({ kind, dataType, shape, node }) => `${kind} ${dataType} [${shape?.join()}] ${node}`);

test("int8 rowParallel: the rows' counts of values by size, then sums of integers", () => {
  const plan = quantized(sandwich(relu), { computeType: "int8" }, 2);
  expect(weightsOf(plan).slice(1)).toEqual(["up Shard(0) columnParallel", "down Shard(1) rowParallel"]);
  expect(describeCollectives(plan)).toEqual(["allReduce int32 [B,S,64] down", `allReduce int32 [B,S,${D}] down`]);
  expect([lies(plan, "down/octaves"), lies(plan, "down/sums"), lies(plan, "down")]).toEqual([
    "Partial",
    "Partial",
    "Replicate",
  ]);
  expect(plan.nodes.slice(-4).map(({ node }) => node.opType)).toEqual([
    "RowOctaves",
    "IntegerMatMul",
    "Rescale",
    "Relu",
  ]);
});

test("int8 on more ranks than features: who has none brings zeros, and scales the sums like all others", () => {
  const graph = quantizeGraph(sandwich(relu).build(), { computeType: "int8" });
  const { graphs, difference } = compareSharded(graph, { worldSize: F + 1 }, { batch: 1, numNew: 2, vocabSize: 7 });
  expect(difference).toBeLessThan(1e-9);
  expect(graphs.at(-1)!.nodes.map(({ opType }) => opType)).toEqual([
    "Gather",
    "Shape",
    "Shape",
    "Concat",
    "ConstantOfShape",
    "Cast",
    "AllReduce",
    "Concat",
    "ConstantOfShape",
    "Cast",
    "AllReduce",
    "Rescale",
    "Relu",
  ]);
});

test("int4: whole blocks of 32 inputs where the cut can be made of them", () => {
  const width = 100;
  const sketch = new GraphSketch();
  const up = sketch.product(sketch.embed(7, D), D, width, PLAIN, "up");
  sketch.output(sketch.product(sketch.node("Relu", [up]), width, D, PLAIN, "down"), ["B", "S", D]);
  const plan = quantized(sketch, { computeType: "int4", blockSize: 64 }, 3);
  expect(plan.values.get("up")).toMatchObject({
    kind: "Shard",
    runs: [[{ begin: 0, end: 64 }], [{ begin: 64, end: 96 }], [{ begin: 96, end: 100 }]],
  });
  expect(describeCollectives(plan)).toEqual(["allReduce int32 [B,S,64] down", `allReduce int32 [B,S,${D}] down`]);
});

test("int4: heads of 24 cut blocks", () => {
  const sketch = new GraphSketch();
  const sizes = { numHeads: 3, numKeyValueHeads: 3, headDim: 24, packed: true, bias: false, rotary: false };
  const attended = sketch.attention(sketch.embed(7, D), D, 0, sizes);
  sketch.output(sketch.product(attended, 72, D, PLAIN, "down"), ["B", "S", D]);
  const plan = quantized(sketch, { computeType: "int4", blockSize: 32 }, 3);
  const down = plan.weights.find(({ node }) => node === "down");
  expect(down?.sharding).toMatchObject({
    runs: [[{ begin: 0, end: 24 }], [{ begin: 24, end: 48 }], [{ begin: 48, end: 72 }]],
  });
});

test("int4: inputs in several stretches are not cut", () => {
  const plan = quantized(
    sandwich((sketch, up) => {
      sketch.nodeWith("Split", [up, sketch.integers([4, 8])], ["a", "b"], { axis: 2 });
      return sketch.node("Concat", ["b", "a"], { axis: 2 });
    }),
    { computeType: "int4", blockSize: 32 },
    2,
  );
  const [up] = weightsOf(plan).slice(1);
  expect(up).toBe("up Replicate blocks of 4 bits are packed from a single stretch of inputs");
});
