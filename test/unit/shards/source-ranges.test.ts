/** The bytes that a graph's weights are made of, as the code that makes them reads them. */
import { expect, test } from "@jest/globals";
import fc from "fast-check";
import type { Graph, Weight, WeightSource } from "../../../src/model/graph.ts";
import { countBytes } from "../../../src/shards/byte-ranges.ts";
import { firstWeightBytes, rangesOfGraphs } from "../../../src/shards/source-ranges.ts";

function graphOf(...sources: WeightSource[]): Graph {
  const weights = sources.map((source, i): [string, Weight] => [
    `w${i}`,
    { name: `w${i}`, dataType: "float32", shape: [], source },
  ]);
  return { name: "g", inputs: [], outputs: [], nodes: [], weights: new Map(weights) };
}

const matrix = { kind: "file", file: "/m", offset: 80, dataType: "bfloat16", shape: [4, 8192] } as const;

test("a column-parallel weight is one range", () => {
  const shard = { kind: "take", of: matrix, axis: 0, runs: [{ begin: 1, end: 3 }] } as const;
  expect(rangesOfGraphs([graphOf(shard)]).get("/m")).toEqual([{ begin: 80 + 16384, end: 80 + 3 * 16384 }]);
});

test("a row-parallel weight is a range of each row, of its own unless the hole is small", () => {
  const shard = (begin: number, end: number) =>
    graphOf({ kind: "take", of: matrix, axis: 1, runs: [{ begin, end }] } as const);
  expect(rangesOfGraphs([shard(0, 4096)]).get("/m")).toEqual(
    [0, 1, 2, 3].map((row) => ({ begin: 80 + row * 16384, end: 80 + row * 16384 + 8192 })),
  );
  expect(rangesOfGraphs([shard(0, 8000)]).get("/m")).toEqual([{ begin: 80, end: 80 + 3 * 16384 + 16000 }]);
  expect(rangesOfGraphs([shard(0, 4096), shard(4096, 8192)]).get("/m")).toEqual([{ begin: 80, end: 80 + 65536 }]);
});

test("parts of several files, and what comes before them", () => {
  const other = { ...matrix, file: "/n", offset: 1000, shape: [2, 2] };
  const graph = graphOf({ kind: "concat", axis: 0, parts: [other, { ...other, offset: 400 }] }, matrix);
  expect(rangesOfGraphs([graph]).get("/n")).toEqual([{ begin: 400, end: 1008 }]);
  expect([...firstWeightBytes(graph)]).toEqual([
    ["/n", 400],
    ["/m", 80],
  ]);
});

test("inline weights are made of no file", () => {
  const inline = { kind: "inline", dataType: "float32", shape: [1], bytes: new Uint8Array(4) } as const;
  expect(rangesOfGraphs([graphOf(inline)]).size).toBe(0);
});

test("all shards together are the whole", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 7 }), fc.constantFrom(0, 1), (numRanks, axis) => {
      const size = matrix.shape[axis];
      const graphs = Array.from({ length: numRanks }, (_, rank) => {
        const [begin, end] = [rank, rank + 1].map((r) => Math.floor((r * size) / numRanks)) as [number, number];
        return graphOf({ kind: "take", of: matrix, axis, runs: [{ begin, end }] });
      });
      const ranges = rangesOfGraphs(graphs).get("/m")!;
      expect([ranges.length, countBytes(ranges)]).toEqual([1, 65536]);
    }),
  );
});

test("of quantised blocks, all that a row touches", () => {
  const blocks = { kind: "blocks", file: "/q", offset: 64, blockType: "Q8_0", shape: [1, 128] } as const;
  const shard = { kind: "take", of: blocks, axis: 1, runs: [{ begin: 40, end: 70 }] } as const;
  expect(rangesOfGraphs([graphOf(shard)]).get("/q")).toEqual([{ begin: 64 + 34, end: 64 + 3 * 34 }]);
});
