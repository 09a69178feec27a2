import { expect, test } from "@jest/globals";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Graph, Weight } from "../../../src/model/graph.ts";
import { materialiseGraph } from "../../../src/shards/materialise.ts";
import { readFileRange } from "./support.ts";

test("materialiseGraph makes every weight in the graph's order and tells what it cost", () => {
  const folder = mkdtempSync(join(tmpdir(), "shardrun-graph-"));
  try {
    const file = join(folder, "model.safetensors");
    writeFileSync(file, new Uint8Array(Float32Array.of(1, 2, 3, 4).buffer));
    const mapped: Weight = {
      name: "norm",
      dataType: "float32",
      shape: [4],
      source: { kind: "file", file, offset: 0, dataType: "float32", shape: [4] },
    };
    const copied: Weight = {
      name: "half",
      dataType: "float32",
      shape: [2, 1],
      source: {
        kind: "take",
        of: { kind: "file", file, offset: 0, dataType: "float32", shape: [2, 2] },
        axis: 1,
        runs: [{ begin: 1, end: 2 }],
      },
    };
    const graph: Graph = {
      name: "g",
      inputs: [],
      outputs: [],
      nodes: [],
      weights: new Map([mapped, copied].map((weight) => [weight.name, weight])),
    };
    const reports: unknown[] = [];
    const result = materialiseGraph(graph, readFileRange, (progress) => reports.push(progress));
    expect(
      result.weights.map(({ data, ...rest }) => ({ ...rest, values: [...new Float32Array(data.slice().buffer)] })),
    ).toEqual([
      { name: "norm", dataType: "float32", shape: [4], values: [1, 2, 3, 4] },
      { name: "half", dataType: "float32", shape: [2, 1], values: [2, 4] },
    ]);
    expect(result).toMatchObject({ numWeights: 2, totalWeights: 2, mappedBytes: 16, copiedBytes: 8 });
    expect(reports).toEqual([
      { numWeights: 1, totalWeights: 2, mappedBytes: 16, copiedBytes: 0 },
      { numWeights: 2, totalWeights: 2, mappedBytes: 16, copiedBytes: 8 },
    ]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
