/** The pass that quantises products, and what a packed matrix looks like from outside. */
import { describe, expect, test } from "@jest/globals";
import { native, type PackedLayout } from "../../../src/collective/native.ts";
import type { Graph, Weight } from "../../../src/model/graph.ts";
import { loadModel } from "../../../src/model/model.ts";
import {
  countPackedBytes,
  countWeightBytes,
  packedLayoutOf,
  takeFromWeight,
} from "../../../src/model/packed-layout.ts";
import { packFloatProducts } from "../../../src/model/packed-products.ts";
import { quantizeGraph } from "../../../src/model/quantize.ts";
import { GraphSketch } from "../../support/graph-sketch.ts";
import { TINY_GPT2, TINY_LLAMA, writeTemporaryCheckpoint } from "../../support/write-checkpoint.ts";

/** Per packed weight: its bits and its logical shape. */
function describePacked({ weights }: Graph): Record<string, string> {
  const packed = [...weights.values()].filter(({ packing }) => packing !== undefined);
  return Object.fromEntries(
    packed.map(({ name, shape, packing }) => [
      name,
      `${packing!.bits} bits [${shape.join(", ")}]${packing!.isTransposed ? " turned" : ""}`,
    ]),
  );
}

describe("packFloatProducts", () => {
  test("products of GPT-2 read packed floats, and nothing else changes", async () => {
    const directory = writeTemporaryCheckpoint({ config: { ...TINY_GPT2, n_layer: 1 } });
    const { graph } = await loadModel(directory, { computeType: "float32" });
    const packed = packFloatProducts(graph);
    expect(describePacked(packed)).toEqual({
      "transformer.h.0.attn.c_attn.weight": "32 bits [72, 24] turned",
      "transformer.h.0.attn.c_proj.weight": "32 bits [24, 24] turned",
      "transformer.h.0.mlp.c_fc.weight": "32 bits [96, 24] turned",
      "transformer.h.0.mlp.c_proj.weight": "32 bits [24, 96] turned",
      "lm_head.weight": "32 bits [40, 24]",
    });
    expect(countWeightBytes(packed.weights.get("lm_head.weight")!)).toBe(48 * 24 * 4);
    const others = packed.nodes.filter(({ opType }) => opType !== "PackedMatMul");
    expect(packed.nodes.length - others.length).toBe(5);
    expect(others).toEqual(graph.nodes.filter(({ opType }) => opType !== "MatMul" && opType !== "FusedMatMul"));
  });

  test("what is quantised, or empty on a rank, stays as it is", () => {
    const sketch = new GraphSketch();
    const empty = sketch.node("MatMul", [sketch.embed(7, 4), sketch.weight([4, 0], "empty")]);
    sketch.output(empty, ["B", "S", 0]);
    const graph = quantizeGraph(sketch.build(), { computeType: "int8" });
    expect(packFloatProducts(graph)).toEqual(graph);
  });
});

describe("quantizeGraph", () => {
  test("a Llama in int8: every matrix but the embedding", async () => {
    const directory = writeTemporaryCheckpoint({ config: { ...TINY_LLAMA, num_hidden_layers: 1 } });
    const { graph } = await loadModel(directory, { computeType: "int8" });
    expect(describePacked(graph)).toEqual({
      "model.layers.0.self_attn.qkv_proj.weight": "8 bits [40, 24]",
      "model.layers.0.self_attn.o_proj.weight": "8 bits [24, 24]",
      "model.layers.0.mlp.gate_up_proj.weight": "8 bits [40, 24]",
      "model.layers.0.mlp.down_proj.weight": "8 bits [24, 20]",
      "lm_head.weight": "8 bits [40, 24]",
    });
    const [node] = graph.nodes.filter(({ name }) => name === "layers.0.down_proj");
    expect(node).toMatchObject({ opType: "QuantizedMatMul", domain: "shardrun" });
    expect(Object.entries(node!.attributes).map(([name, { value }]) => `${name} ${String(value)}`)).toEqual([
      "bits 8",
      "in_features 20",
      "out_features 24",
      "block_size 0",
      "has_minimum 0",
      "in_offset 0",
    ]);
  });

  test("GPT-2 in int4: matrices [in, out] are turned, the head has 8 bits", async () => {
    const directory = writeTemporaryCheckpoint({ config: { ...TINY_GPT2, n_layer: 1 } });
    const { graph } = await loadModel(directory, { computeType: "int4", blockSize: 64 });
    expect(describePacked(graph)).toEqual({
      "transformer.h.0.attn.c_attn.weight": "4 bits [72, 24] turned",
      "transformer.h.0.attn.c_proj.weight": "4 bits [24, 24] turned",
      "transformer.h.0.mlp.c_fc.weight": "4 bits [96, 24] turned",
      "transformer.h.0.mlp.c_proj.weight": "4 bits [24, 96] turned",
      "lm_head.weight": "8 bits [40, 24]",
    });
    expect(packedLayoutOf(graph.weights.get("transformer.h.0.mlp.c_proj.weight")!)).toMatchObject({ blockSize: 64 });
  });

  test.each(["float32", "default", undefined] as const)("%s leaves the graph as it is", (computeType) => {
    const graph = new GraphSketch().build();
    expect(quantizeGraph(graph, { computeType })).toBe(graph);
  });

  test("a matrix that something else reads too, or that is read in two ways, stays", () => {
    const sketch = new GraphSketch();
    const table = sketch.weight([4, 4], "table");
    const both = sketch.weight([4, 4], "both");
    const fine = sketch.weight([4, 4], "fine");
    let x = sketch.embed(4, 4, table);
    for (const weight of [table, both, fine]) x = sketch.node("FusedMatMul", [x, weight], { transB: 1 });
    x = sketch.node("MatMul", [x, both]);
    x = sketch.node("FusedMatMul", [x, sketch.weight([4, 4], "scaled")], { transB: 1, alpha: 2 });
    sketch.output(x, ["B", "S", 4]);
    expect(describePacked(quantizeGraph(sketch.build(), { computeType: "int8" }))).toEqual({ fine: "8 bits [4, 4]" });
  });
});

const MATRIX: Weight = {
  name: "w",
  dataType: "uint8",
  shape: [40, 70],
  source: { kind: "inline", dataType: "float32", shape: [40, 70], bytes: new Uint8Array(40 * 70 * 4) },
  packing: { bits: 4, blockSize: 32, isTransposed: false, inputs: [{ begin: 0, end: 70 }] },
};

test("a part of the inputs keeps the blocks of the whole", () => {
  const part = takeFromWeight(MATRIX, 1, [{ begin: 40, end: 70 }]);
  expect(packedLayoutOf(part)).toEqual({
    bits: 4,
    outFeatures: 40,
    inFeatures: 30,
    blockSize: 32,
    hasMinimum: false,
    inOffset: 8,
  });
  expect(part.source).toBe(MATRIX.source);
});

test("a part of the outputs is a part of the source, along its axis of outputs", () => {
  const runs = [{ begin: 16, end: 40 }];
  expect(takeFromWeight(MATRIX, 0, runs)).toMatchObject({ shape: [24, 70], source: { axis: 0, runs } });
  const turned = { ...MATRIX, packing: { ...MATRIX.packing!, isTransposed: true } };
  expect(takeFromWeight(turned, 0, runs)).toMatchObject({ shape: [24, 70], source: { axis: 1, runs } });
});

test("blocks of several stretches are a mistake of ours", () => {
  const runs = [
    { begin: 0, end: 32 },
    { begin: 64, end: 70 },
  ];
  expect(() => countWeightBytes(takeFromWeight(MATRIX, 1, runs))).toThrow(
    'Weight "w" packs 2 stretches of inputs; blocks need a single one.',
  );
});

describe("countPackedBytes counts what native code packs", () => {
  const layouts = [1, 15, 16, 100].flatMap((outFeatures) =>
    [0, 1, 31, 32, 172].flatMap((inFeatures): PackedLayout[] => [
      { bits: 8, outFeatures, inFeatures },
      { bits: 4, outFeatures, inFeatures, blockSize: 32, hasMinimum: false, inOffset: 0 },
      { bits: 4, outFeatures, inFeatures, blockSize: 64, hasMinimum: false, inOffset: 33 },
      { bits: 4, outFeatures, inFeatures, blockSize: 32, hasMinimum: true, inOffset: 5 },
    ]),
  );
  test.each(layouts)("%j", (layout) => {
    expect(countPackedBytes(layout)).toBe(native().packedWeightBytes(layout));
  });
});
