/** Property: whatever the graph and the world, the ranks together compute what one rank computes. */
import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { quantizeGraph } from "../../../src/model/quantize.ts";
import { arbitraryGraph } from "../../support/arbitrary-graph.ts";
import { GraphSketch } from "../../support/graph-sketch.ts";
import { compareSharded } from "../../support/sharded-parity.ts";

const TOLERANCE = 1e-9;

test("random graphs give the same outputs for every worldSize", () => {
  fc.assert(
    fc.property(
      arbitraryGraph,
      fc.integer({ min: 1, max: 5 }),
      fc.integer({ min: 1, max: 3 }),
      (graph, worldSize, numNew) => {
        expect(compareSharded(graph, { worldSize }, { batch: 2, numNew, vocabSize: 7 }).difference).toBeLessThan(
          TOLERANCE,
        );
      },
    ),
    { numRuns: 400 },
  );
});

test("random weights of the ranks give the same outputs", () => {
  const rankWeights = fc
    .array(fc.integer({ min: 0, max: 9 }), { minLength: 2, maxLength: 5 })
    .filter((w) => w.some((x) => x > 0));
  fc.assert(
    fc.property(arbitraryGraph, rankWeights, (graph, weights) => {
      const world = { worldSize: weights.length, rankWeights: weights };
      expect(compareSharded(graph, world, { batch: 1, numNew: 2, vocabSize: 7 }).difference).toBeLessThan(TOLERANCE);
    }),
    { numRuns: 100 },
  );
});

test.each([{ computeType: "int8" }, { computeType: "int4", blockSize: 3 }] as const)(
  "random graphs in $computeType give the same outputs for every worldSize",
  (compute) => {
    fc.assert(
      fc.property(arbitraryGraph, fc.integer({ min: 1, max: 5 }), (graph, worldSize) => {
        const quantized = quantizeGraph(graph, compute);
        const sizes = { batch: 2, numNew: 2, vocabSize: 7 };
        expect(compareSharded(quantized, { worldSize }, sizes).difference).toBeLessThan(TOLERANCE);
      }),
      { numRuns: 200 },
    );
  },
);

describe("attention with awkward head counts", () => {
  test.each([
    { numHeads: 8, numKeyValueHeads: 4, worldSizes: [1, 2, 3, 4, 5, 8] },
    { numHeads: 3, numKeyValueHeads: 1, worldSizes: [2, 4] },
    { numHeads: 6, numKeyValueHeads: 2, worldSizes: [2, 3, 4, 5] },
    { numHeads: 7, numKeyValueHeads: 1, worldSizes: [2, 3, 5, 8] },
    { numHeads: 9, numKeyValueHeads: 3, worldSizes: [2, 4, 5] },
    { numHeads: 3, numKeyValueHeads: 3, worldSizes: [2, 4, 5] },
  ])("$numHeads heads, $numKeyValueHeads key/value heads on $worldSizes ranks", ({ worldSizes, ...heads }) => {
    for (const worldSize of worldSizes) {
      for (const [packed, normed] of [true, false].flatMap((first) => [true, false].map((second) => [first, second]))) {
        const sketch = new GraphSketch();
        const x = sketch.embed(7, 12);
        const attention = { ...heads, headDim: 4, packed: packed!, bias: true, rotary: true, normed: normed! };
        const attended = sketch.attention(x, 12, 0, attention);
        const added = sketch.node("Add", [sketch.product(attended, heads.numHeads * 4, 12), x]);
        sketch.head(added, 12, 3);
        const { difference, plan } = compareSharded(
          sketch.build(),
          { worldSize },
          { batch: 2, numNew: 3, vocabSize: 7 },
        );
        expect(difference).toBeLessThan(TOLERANCE);
        const collectives = plan.collectives.map(({ kind }) => kind);
        expect(collectives).toEqual(worldSize === 1 ? [] : ["allReduce", "allGather"]);
      }
    }
  });
});
