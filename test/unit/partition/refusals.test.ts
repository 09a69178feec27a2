/** Graphs and worlds that cannot be partitioned at all: each error says which node, what is wrong and what to do. */
import { expect, test } from "@jest/globals";
import { PartitionError } from "../../../src/errors.ts";
import { partition } from "../../../src/partition/partition.ts";
import { GraphSketch, PLAIN } from "../../support/graph-sketch.ts";
import { D, F, sandwich } from "../../support/plan-sketch.ts";

function errorOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    expect(error).toBeInstanceOf(PartitionError);
    return (error as PartitionError).message;
  }
  throw new Error("nothing was refused");
}

test("random numbers", () => {
  const sketch = sandwich((it, x) => it.node("RandomNormalLike", [x], {}, "noise"));
  expect(errorOf(() => partition(sketch.build(), { worldSize: 2 }))).toBe(
    'Partitioning node "noise" (RandomNormalLike) failed: it draws random numbers, which would differ on every rank. ' +
      "Draw them outside the graph and hand them in as an input.",
  );
});

test("a value that nothing produced", () => {
  const sketch = sandwich((it) => it.node("Relu", ["nowhere"], {}, "between"));
  expect(errorOf(() => partition(sketch.build(), { worldSize: 2 }))).toBe(
    'Partitioning node "between" (Relu) failed: its input "nowhere" is no graph input, weight or output of an earlier node. ' +
      "Put the nodes in topological order.",
  );
});

test("features that do not meet", () => {
  const sketch = new GraphSketch();
  sketch.output(sketch.product(sketch.embed(7, D), 9, F, PLAIN, "up"), ["B", "S", F]);
  expect(errorOf(() => partition(sketch.build(), { worldSize: 2 }))).toBe(
    'Partitioning node "up" (FusedMatMul) failed: 8 features meet 9; its inputs are "gather_1" [B, S, 8], "w_2" [12, 9]. ' +
      "Check the weight's layout and transB.",
  );
});

test("heads that cannot share key/value heads", () => {
  const sketch = new GraphSketch();
  const attention = { numHeads: 4, numKeyValueHeads: 3, headDim: 2, packed: true, bias: false, rotary: false };
  const attended = sketch.attention(sketch.embed(7, D), D, 0, attention);
  sketch.output(sketch.product(attended, 8, D), ["B", "S", D]);
  expect(errorOf(() => partition(sketch.build(), { worldSize: 2 }))).toBe(
    'Partitioning node "attention_4" (GroupQueryAttention) failed: 4 heads cannot share 3 key/value heads evenly; ' +
      'its inputs are "fusedmatmul_3" [B, S, 20], "past_key_values.0.key" [B, 3, 6, 2], "past_key_values.0.value" [B, 3, 6, 2], ' +
      '"seqlens_k" [B], "total_sequence_length" []. num_heads must be a multiple of kv_num_heads.',
  );
});

test("a packed product that is not made of heads", () => {
  const sketch = new GraphSketch();
  const qkv = sketch.product(sketch.embed(7, D), D, 21, PLAIN, "qkv");
  const attended = sketch.node("GroupQueryAttention", [qkv], { num_heads: 4, kv_num_heads: 2 }, "attention");
  sketch.output(attended, ["B", "S", 8]);
  expect(errorOf(() => partition(sketch.build(), { worldSize: 2 }))).toBe(
    'Partitioning node "attention" (GroupQueryAttention) failed: its first input is not 8 heads of one size; ' +
      'its inputs are "qkv" [B, S, 21]. Its last axis must be a multiple of the number of heads.',
  );
});

test.each([
  { world: { worldSize: 0 }, what: "expected worldSize to be a positive integer, received 0." },
  { world: { worldSize: 1.5 }, what: "expected worldSize to be a positive integer, received 1.5." },
  {
    world: { worldSize: 3, rankWeights: [1, 1] },
    what: "expected one rank weight for each of 3 ranks, received 2.",
  },
  {
    world: { worldSize: 2, rankWeights: [1, -1] },
    what: "expected rank weights that are 0 or more, finite and not all 0, received [1, -1].",
  },
  {
    world: { worldSize: 2, rankWeights: [0, 0] },
    what: "expected rank weights that are 0 or more, finite and not all 0, received [0, 0].",
  },
  {
    world: { worldSize: 2, rankWeights: [NaN, 1] },
    what: "expected rank weights that are 0 or more, finite and not all 0, received [NaN, 1].",
  },
])("a world of $world", ({ world, what }) => {
  expect(errorOf(() => partition(sandwich((_, x) => x).build(), world))).toBe(`Partitioning failed: ${what}`);
});
