/** The sums over ranks of int8 products: which nodes become one, in which order, and what a rank without a part of them keeps. */
import { expect, test } from "@jest/globals";
import { ownReductions } from "../../../../src/model/own-ops/reductions.ts";
import type { Graph } from "../../../../src/model/graph.ts";
import { loadModel } from "../../../../src/model/model.ts";
import { partition } from "../../../../src/partition/partition.ts";
import { shardGraph } from "../../../../src/partition/shard-graph.ts";
import { TINY_LLAMA, writeTemporaryCheckpoint } from "../../../support/write-checkpoint.ts";

async function shardsOf(computeType: "float32" | "int8", worldSize: number, rankWeights?: number[]): Promise<Graph[]> {
  const directory = writeTemporaryCheckpoint({ config: { ...TINY_LLAMA, num_hidden_layers: 1 } });
  const { graph } = await loadModel(directory, { computeType });
  const plan = partition(graph, { worldSize, rankWeights });
  return Array.from({ length: worldSize }, (_, rank) => shardGraph(graph, plan, rank));
}

/** From the gate to the sum of the layer. */
function describeDown({ nodes }: Graph): string[] {
  const begin = nodes.findIndex(({ name }) => name === "layers.0.gated");
  const end = nodes.findIndex(({ name }) => name === "norm");
  return nodes
    .slice(begin + 1, end)
    .map(({ opType, inputs, outputs }) => `${opType} ${inputs.join(", ")} -> ${outputs.join(", ")}`);
}

test("int8 over two ranks: the two sums of the down projection take their neighbours in, in the same order", async () => {
  for (const shard of await shardsOf("int8", 2)) {
    const fused = ownReductions(shard);
    const down = "layers.0.down_proj";
    const weight = "model.layers.0.mlp.down_proj.weight";
    const before = "layers.0.o_proj/sums/token";
    expect(describeDown(fused)).toEqual([
      `AllReduceOctaves layers.0.gated, ${before} -> ${down}/octaves, ${down}/octaves/token`,
      `IntegerMatMul layers.0.gated, ${down}/octaves, ${weight} -> ${down}/sums/partial`,
      `AllReduceRescale ${down}/sums/partial, ${down}/octaves, ${weight}, ${down}/octaves/token -> ${down}, ${down}/sums/token`,
    ]);
    const [octaves, , rescale] = fused.nodes.slice(fused.nodes.findIndex(({ name }) => name === "layers.0.gated") + 1);
    expect(octaves!.attributes).toEqual({ label: { kind: "string", value: down } });
    expect(Object.keys(rescale!.attributes).toSorted()).toEqual([
      "bits",
      "block_size",
      "has_minimum",
      "in_features",
      "in_offset",
      "label",
      "out_features",
    ]);
    expect(shard.nodes.length - fused.nodes.length).toBe(4);
  }
});

test("a rank without a part of any row adds zeros to all sums, and scales like all others", async () => {
  const [, , idle] = await shardsOf("int8", 4, [10, 10, 0.001, 10]);
  const opTypes = ownReductions(idle!).nodes.map(({ opType }) => opType);
  expect(opTypes.filter((opType) => /AllReduce|Rescale|IntegerMatMul/.test(opType))).toEqual([
    ...["AllReduce", "AllReduceRescale"],
    ...["AllReduce", "AllReduceRescale"],
  ]);
});

test("float32 has nothing of the kind", async () => {
  for (const shard of await shardsOf("float32", 2)) expect(ownReductions(shard)).toEqual(shard);
});
