/** Which gates become one node, and what of a graph is left as it is. */
import { expect, test } from "@jest/globals";
import { ownGates } from "../../../../src/model/own-ops/gates.ts";
import type { Graph } from "../../../../src/model/graph.ts";
import { loadModel } from "../../../../src/model/model.ts";
import { partition } from "../../../../src/partition/partition.ts";
import { shardGraph } from "../../../../src/partition/shard-graph.ts";
import { GraphSketch } from "../../../support/graph-sketch.ts";
import { TINY_LLAMA, writeTemporaryCheckpoint } from "../../../support/write-checkpoint.ts";

const describeNodes = ({ nodes }: Graph): string[] =>
  nodes.map(({ opType, inputs, outputs }) => `${opType} ${inputs.join()} -> ${outputs.join()}`);

test("a Llama's feed-forward, on every rank: one node between the two products", async () => {
  const directory = writeTemporaryCheckpoint({ config: { ...TINY_LLAMA, num_hidden_layers: 1 } });
  const { graph } = await loadModel(directory, { computeType: "float32" });
  const plan = partition(graph, { worldSize: 2 });
  for (const rank of [0, 1]) {
    const shard = shardGraph(graph, plan, rank);
    const fused = ownGates(shard);
    const gates = fused.nodes.filter(({ opType }) => opType === "GatedSilu");
    expect(gates).toEqual([
      {
        name: "layers.0.gated",
        opType: "GatedSilu",
        domain: "shardrun",
        inputs: ["layers.0.gate_up_proj"],
        outputs: ["layers.0.gated"],
        attributes: {},
      },
    ]);
    expect(shard.nodes.length - fused.nodes.length).toBe(2);
    expect(shard.weights.has("layers.0.split_gate_up/constant1")).toBe(true);
    const read = new Set(fused.nodes.flatMap(({ inputs }) => inputs));
    expect([...fused.weights.keys()].filter((name) => !read.has(name))).toEqual([]);
  }
});

interface GateSketch {
  readonly sizes?: readonly number[];
  readonly axis?: number;
  readonly alpha?: number;
  readonly op?: string;
  /** A second reader, or a graph output. */
  readonly isSeen?: "gate" | "opened";
}

function sketchGate({ sizes = [4, 4], axis = -1, alpha = 1, op = "Mul", isSeen }: GateSketch): Graph {
  const sketch = new GraphSketch();
  sketch.nodeWith("Split", [sketch.embed(7, 8), sketch.integers(sizes)], ["gate", "up"], { axis }, "split");
  sketch.node("QuickGelu", ["gate"], {}, "opened");
  sketch.node(op, ["opened", "up"], {}, "gated");
  sketch.output("gated", ["B", "S", 4]);
  if (isSeen === "gate") sketch.output(sketch.node("Relu", ["gate"], {}, "seen"), ["B", "S", 4]);
  if (isSeen === "opened") sketch.output("opened", ["B", "S", 4]);
  const graph = sketch.build();
  return {
    ...graph,
    nodes: graph.nodes.map((node) =>
      node.opType === "QuickGelu" ? { ...node, attributes: { alpha: { kind: "float", value: alpha } } } : node,
    ),
  };
}

test("the gate alone", () => {
  expect(describeNodes(ownGates(sketchGate({})))).toEqual([
    "Gather w_0,input_ids -> gather_1",
    "GatedSilu gather_1 -> gated",
  ]);
});

test.each<GateSketch>([
  { sizes: [3, 5] },
  { axis: 1 },
  { alpha: 1.702 },
  { op: "Add" },
  { isSeen: "gate" },
  { isSeen: "opened" },
])("not this: %j", (sketch) => {
  const graph = sketchGate(sketch);
  expect(ownGates(graph)).toEqual(graph);
});
