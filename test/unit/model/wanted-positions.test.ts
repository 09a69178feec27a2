/** Gathering the wanted positions early computes less, and the same. */
import { expect, test } from "@jest/globals";
import fc from "fast-check";
import type { Graph } from "../../../src/model/graph.ts";
import { gatherWantedPositions } from "../../../src/model/wanted-positions.ts";
import { arbitraryGraph } from "../../support/arbitrary-graph.ts";
import { GraphSketch } from "../../support/graph-sketch.ts";
import { runGraph } from "../../support/interpreter.ts";
import { compareSharded, makeFeeds } from "../../support/sharded-parity.ts";

const SIZES = { batch: 2, numNew: 3, vocabSize: 7 };

const describeNodes = ({ nodes }: Graph): string[] =>
  nodes.map(({ opType, inputs, outputs }) => `${opType} ${inputs.join()} -> ${outputs.join()}`);

test("random graphs give the same outputs, whole and on several ranks", () => {
  let numChanged = 0;
  fc.assert(
    fc.property(arbitraryGraph, fc.integer({ min: 1, max: 4 }), (graph, worldSize) => {
      const early = gatherWantedPositions(graph);
      if (early !== graph) numChanged++;
      const feeds = makeFeeds(graph, SIZES);
      expect(runGraph(early, feeds)).toEqual(runGraph(graph, feeds));
      expect(compareSharded(early, { worldSize }, SIZES).difference).toBeLessThan(1e-9);
    }),
    { numRuns: 200 },
  );
  expect(numChanged).toBeGreaterThan(20);
});

interface Tail {
  /** Something else reads the product, or it is given out. */
  readonly isSeen?: boolean;
  /** Between the product and the head: not computed position by position. */
  readonly between?: "Softmax";
}

function sketchTail({ isSeen = false, between }: Tail): Graph {
  const sketch = new GraphSketch();
  const x = sketch.embed(7, 4);
  const product = sketch.product(x, 4, 4, undefined, "product");
  const inner = between === undefined ? product : sketch.node(between, [product], { axis: 1 });
  sketch.nodeWith("SkipSimplifiedLayerNormalization", [inner, x, sketch.weight([4], "scale")], ["norm", "", "", "sum"]);
  if (isSeen) sketch.output(product, ["B", "S", 4]);
  sketch.head("norm", 4, 5);
  return sketch.build();
}

test("behind what every position is needed for", () => {
  expect(describeNodes(gatherWantedPositions(sketchTail({})))).toEqual([
    "Gather w_0,input_ids -> gather_1",
    "Gather gather_1,logits_positions -> gather_1.wanted",
    "FusedMatMul gather_1.wanted,w_2 -> product",
    "SkipSimplifiedLayerNormalization product,gather_1.wanted,scale -> gather_4,,,sum",
    "FusedMatMul gather_4,w_5 -> logits",
  ]);
});

test.each<Tail>([{ isSeen: true }, { between: "Softmax" }])("as far as possible: %j", (tail) => {
  const [before, after] = [sketchTail(tail), gatherWantedPositions(sketchTail(tail))];
  const find = (graph: Graph, name: string) => graph.nodes.find((node) => node.name === name);
  expect(find(after, "product")).toEqual(find(before, "product"));
  expect(after.nodes.filter(({ opType }) => opType === "Gather")).toHaveLength(3);
});

test("a graph without wanted positions stays as it is", () => {
  const sketch = new GraphSketch();
  sketch.output(sketch.embed(7, 4), ["B", "S", 4]);
  const graph = sketch.build();
  expect(gatherWantedPositions(graph)).toBe(graph);
});
