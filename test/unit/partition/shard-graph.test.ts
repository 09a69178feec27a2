/** One rank's graph: local weights and heads, collectives in one order, nothing where a rank holds nothing. */
import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { PartitionError } from "../../../src/errors.ts";
import type { Graph, GraphNode } from "../../../src/model/graph.ts";
import { readIntegers } from "../../../src/model/constants.ts";
import { partition } from "../../../src/partition/partition.ts";
import { listIndices } from "../../../src/partition/runs.ts";
import { shardGraph } from "../../../src/partition/shard-graph.ts";
import { arbitraryGraph } from "../../support/arbitrary-graph.ts";
import { GraphSketch, PLAIN } from "../../support/graph-sketch.ts";

const D = 12;

/** Embedding -> attention with 3 heads over 1 -> residual -> MLP of 5 features -> head of 3. */
function decoder(): Graph {
  const sketch = new GraphSketch();
  const x = sketch.embed(7, D);
  const heads = { numHeads: 3, numKeyValueHeads: 1, headDim: 4, packed: true, bias: false, rotary: true };
  const attended = sketch.product(sketch.attention(x, D, 0, heads), 12, D, PLAIN, "o_proj");
  const residual = sketch.node("Add", [attended, x]);
  const down = sketch.product(sketch.node("Relu", [sketch.product(residual, D, 5)]), 5, D, PLAIN, "down_proj");
  sketch.head(sketch.node("Add", [down, residual]), D, 3);
  return sketch.build();
}

function shards(graph: Graph, worldSize: number): Graph[] {
  const plan = partition(graph, { worldSize });
  return Array.from({ length: worldSize }, (_, rank) => shardGraph(graph, plan, rank));
}

const find = (graph: Graph, opType: string): GraphNode | undefined =>
  graph.nodes.find((node) => node.opType === opType);
const collectives = (graph: Graph): GraphNode[] => graph.nodes.filter(({ domain }) => domain === "shardrun");

describe("a decoder with 3 heads over 1 on 4 ranks", () => {
  const graph = decoder();
  const ranks = shards(graph, 4);

  test("a rank's attention has its own head counts and caches", () => {
    expect(find(ranks[0]!, "GroupQueryAttention")?.attributes).toMatchObject({
      num_heads: { kind: "int", value: 1 },
      kv_num_heads: { kind: "int", value: 1 },
    });
    expect(ranks[0]!.inputs.find(({ name }) => name === "past_key_values.0.key")?.shape).toEqual(["B", 1, 6, 4]);
    expect(ranks[0]!.outputs.find(({ name }) => name === "present.0.value")?.shape).toEqual(["B", 1, 6, 4]);
  });

  test("packed weights are taken in runs: q, then k, then v", () => {
    const [, name] = find(ranks[1]!, "FusedMatMul")!.inputs;
    const { shape, source } = ranks[1]!.weights.get(name!)!;
    expect(shape).toEqual([12, D]);
    expect(source).toMatchObject({
      kind: "take",
      axis: 0,
      runs: [
        { begin: 4, end: 8 },
        { begin: 12, end: 20 },
      ],
    });
  });

  test("the rank without heads has no attention and no cache, and adds zeros", () => {
    const rank = ranks[3]!;
    expect(find(rank, "GroupQueryAttention")).toBeUndefined();
    expect(rank.inputs.map(({ name }) => name)).toEqual([
      "input_ids",
      "seqlens_k",
      "total_sequence_length",
      "logits_positions",
    ]);
    expect(rank.outputs.map(({ name }) => name)).toEqual(["logits"]);
    expect(collectives(rank)[0]?.inputs).toEqual(["zeros[B,S,12]"]);
    const inOrder = rank.nodes.map(({ name }) => name);
    expect(inOrder.slice(inOrder.indexOf("size[B]"), inOrder.indexOf("o_proj/allReduce") + 1)).toEqual([
      "size[B]",
      "size[S]",
      "zeros[B,S,12]/shape",
      "zeros[B,S,12]",
      "o_proj/allReduce",
    ]);
  });

  test("the rank without vocabulary gives logits without entries", () => {
    expect(ranks.map(({ outputs }) => outputs.at(-1)?.shape)).toEqual([
      ["B", "M", 1],
      ["B", "M", 1],
      ["B", "M", 1],
      ["B", "M", 0],
    ]);
  });

  test("collectives carry op, label and the token of the one before", () => {
    for (const rank of ranks) {
      const [first, second] = collectives(rank) as [GraphNode, GraphNode];
      expect(first).toMatchObject({
        name: "o_proj/allReduce",
        opType: "AllReduce",
        outputs: ["o_proj", "o_proj/token"],
        attributes: { op: { kind: "string", value: "sum" }, label: { kind: "string", value: "o_proj" } },
      });
      expect(first.inputs).toHaveLength(1);
      expect(second.inputs).toEqual(["down_proj/partial", "o_proj/token"]);
    }
  });
});

test("allGather says its axis and every rank's size", () => {
  const sketch = new GraphSketch();
  const up = sketch.product(sketch.embed(7, D), D, 5, PLAIN, "up");
  sketch.output(up, ["B", "S", 5]);
  sketch.output(sketch.product(up, 5, D), ["B", "S", D]);
  const [gather] = collectives(shards(sketch.build(), 3)[1]!);
  expect(gather).toMatchObject({
    name: "up/allGather",
    inputs: ["up/shard"],
    outputs: ["up", "up/token"],
    attributes: {
      axis: { kind: "int", value: 2 },
      sizes: { kind: "ints", value: [2, 2, 1] },
      label: { kind: "string", value: "up" },
    },
  });
});

test("a Split without sizes gets this rank's", () => {
  const sketch = new GraphSketch();
  sketch.nodeWith("Split", [sketch.product(sketch.embed(7, D), D, 10)], ["gate", "up"], { axis: 2, num_outputs: 2 });
  sketch.output(sketch.product(sketch.node("Mul", ["gate", "up"]), 5, D), ["B", "S", D]);
  const [rank] = shards(sketch.build(), 2);
  const split = find(rank!, "Split")!;
  expect(split.attributes).toEqual({ axis: { kind: "int", value: 2 } });
  expect(readIntegers(rank!.weights.get(split.inputs[1]!))).toEqual([3, 3]);
});

test("a world of one gets the graph as it is", () => {
  const graph = decoder();
  const [only] = shards(graph, 1);
  expect(only).toEqual({ ...graph, name: "sketch, rank 0 of 1" });
});

test("zeros of a size that nobody tells are refused", () => {
  const sketch = new GraphSketch();
  sketch.inputs.push({ name: "past_key_values.x", dataType: "float32", shape: ["B", "T", 2, 4] });
  const concat = sketch.node("Concat", ["past_key_values.x", "shaped"], { axis: 1 }, "longer");
  sketch.nodes.pop();
  const up = sketch.product(sketch.embed(7, D), D, 8);
  sketch.node("Reshape", [up, sketch.integers([0, 0, 2, 4])], {}, "shaped");
  sketch.node("Concat", ["past_key_values.x", "shaped"], { axis: 1 }, concat);
  const flat = sketch.node("Reshape", [concat, sketch.integers([0, 0, 8])]);
  sketch.output(sketch.product(flat, 8, D, PLAIN, "down"), ["B", "U", D]);
  const graph = sketch.build();
  const plan = partition(graph, { worldSize: 3 });
  expect(() => shardGraph(graph, plan, 2)).toThrow(
    new PartitionError(
      'Sharding the graph for rank 2 failed: the rank holds nothing of "down" [B, T+S, 12], and no graph input tells the size ' +
        "of the zeros to stand for it. Use fewer ranks.",
    ),
  );
});

describe("for any graph", () => {
  const world = fc.integer({ min: 1, max: 5 });

  test("every rank calls the same collectives in the same order", () => {
    fc.assert(
      fc.property(arbitraryGraph, world, (graph, worldSize) => {
        const plan = partition(graph, { worldSize });
        const planned = plan.collectives.filter(({ insideGraph }) => insideGraph).map((c) => `${c.value}/${c.kind}`);
        for (const rank of shards(graph, worldSize)) {
          const called = collectives(rank);
          expect(called.map(({ name }) => name)).toEqual(planned);
          called.forEach((node, i) => expect(node.inputs[1]).toBe(called[i - 1]?.outputs[1]));
        }
      }),
    );
  });

  test("every element of a cut weight lies on one rank, but for key/value heads that several need", () => {
    fc.assert(
      fc.property(arbitraryGraph, world, (graph, worldSize) => {
        const groups = graph.nodes.filter(({ opType }) => opType === "GroupQueryAttention");
        const mayRepeat = groups.some(({ attributes }) => {
          const count = attributes.kv_num_heads;
          return count?.kind === "int" && count.value % worldSize !== 0;
        });
        for (const { sharding, shape } of partition(graph, { worldSize }).weights) {
          if (sharding.kind !== "Shard") continue;
          const held = sharding.runs.flatMap(listIndices);
          const all = Array.from({ length: shape[sharding.axis]! }, (_, i) => i);
          expect([...new Set(held)].sort((a, b) => a - b)).toEqual(all);
          if (!mayRepeat) expect(held).toHaveLength(all.length);
        }
      }),
    );
  });

  test("the plan depends on graph and world alone", () => {
    fc.assert(
      fc.property(arbitraryGraph, world, (graph, worldSize) => {
        const plan = partition(graph, { worldSize });
        shards(graph, worldSize);
        expect(partition(structuredClone(graph), { worldSize })).toEqual(plan);
      }),
    );
  });
});
