import { describe, expect, test } from "@jest/globals";
import { existsSync, mkdtempSync, readFileSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { ModelProto } from "../../../src/model/generated/onnx.ts";
import type { Graph, Weight } from "../../../src/model/graph.ts";
import { loadModel } from "../../../src/model/model.ts";
import { writeOnnxFile } from "../../../src/model/onnx-file.ts";
import { encodeModel } from "../../../src/model/onnx-format.ts";
import { materialiseWeight } from "../../../src/shards/weight.ts";
import { useTemporaryDirectory } from "../../support/temporary-directory.ts";
import { TINY_LLAMA, writeCheckpoint } from "../../support/write-checkpoint.ts";

const root = useTemporaryDirectory();

/** A graph with one of everything that the format has. */
const graph: Graph = {
  name: "everything",
  inputs: [
    { name: "x", dataType: "float32", shape: ["B", 3] },
    { name: "count", dataType: "int32", shape: [] },
  ],
  outputs: [{ name: "y", dataType: "int64", shape: ["B", 0] }],
  nodes: [
    {
      name: "n",
      opType: "Op",
      domain: "com.microsoft",
      inputs: ["x", "", "w"],
      outputs: ["y"],
      attributes: {
        zero: { kind: "int", value: 0 },
        minus: { kind: "int", value: -1 },
        list: { kind: "ints", value: [1, -2] },
        half: { kind: "float", value: 0.5 },
        word: { kind: "string", value: "é" },
      },
    },
  ],
  weights: new Map<string, Weight>([
    [
      "w",
      {
        name: "w",
        dataType: "bfloat16",
        shape: [2, 3],
        source: { kind: "file", file: "/f", offset: 8, dataType: "bfloat16", shape: [2, 3] },
      },
    ],
    [
      "c",
      {
        name: "c",
        dataType: "int64",
        shape: [1],
        source: { kind: "inline", dataType: "int64", shape: [1], bytes: Uint8Array.of(5, 0, 0, 0, 0, 0, 0, 0) },
      },
    ],
  ]),
};

/** The bytes of a file range, as the addon's mapFile gives them. */
const readRange = (file: string, offset: number, numBytes: number): Uint8Array =>
  new Uint8Array(readFileSync(file).subarray(offset, offset + numBytes));
const materialise = (weight: Weight): Uint8Array => materialiseWeight(weight, readRange).data;

describe("a model for a session", () => {
  const model = ModelProto.decode(encodeModel(graph));

  test("versions", () => {
    expect(model.irVersion).toBe(10n);
    expect(model.opsetImport.map(({ domain, version }) => `${domain} ${version}`)).toEqual([
      " 21",
      "com.microsoft 1",
      "shardrun 1",
    ]);
  });

  test("nodes and attributes", () => {
    const [node] = model.graph!.node;
    expect(node).toMatchObject({
      name: "n",
      opType: "Op",
      domain: "com.microsoft",
      input: ["x", "", "w"],
      output: ["y"],
    });
    expect(node!.attribute).toEqual([
      { name: "zero", type: 2, i: 0n, ints: [] },
      { name: "minus", type: 2, i: -1n, ints: [] },
      { name: "list", type: 7, ints: [1n, -2n] },
      { name: "half", type: 1, f: 0.5, ints: [] },
      { name: "word", type: 3, s: Buffer.from("é"), ints: [] },
    ]);
  });

  test("inputs and outputs", () => {
    const print = (values: NonNullable<typeof model.graph>["input"]) =>
      values.map(({ name, type }) => [
        name,
        type!.tensorType!.elemType,
        type!.tensorType!.shape!.dim.map(({ value }) => value!.value),
      ]);
    expect(print(model.graph!.input)).toEqual([
      ["x", 1, ["B", 3n]],
      ["count", 6, []],
    ]);
    expect(print(model.graph!.output)).toEqual([["y", 7, ["B", 0n]]]);
  });

  test("inline weights travel along, others are handed over", () => {
    expect(model.graph!.initializer).toEqual([
      {
        name: "w",
        dims: [2n, 3n],
        dataType: 16,
        dataLocation: 1,
        externalData: [
          { key: "location", value: "null" },
          { key: "offset", value: "0" },
          { key: "length", value: "12" },
        ],
      },
      { name: "c", dims: [1n], dataType: 7, rawData: Buffer.from([5, 0, 0, 0, 0, 0, 0, 0]), externalData: [] },
    ]);
  });
});

describe("an ONNX file", () => {
  /** Every initializer's bytes, read as another tool would. */
  function readInitializers(directory: string, name: string): Map<string, Buffer> {
    const { graph: read } = ModelProto.decode(readFileSync(join(directory, name)));
    return new Map(
      read!.initializer.map((tensor) => {
        if (tensor.rawData !== undefined) return [tensor.name!, Buffer.from(tensor.rawData)];
        const entries = new Map(tensor.externalData.map(({ key, value }) => [key, value!]));
        const offset = Number(entries.get("offset"));
        const file = readFileSync(join(directory, entries.get("location")!));
        const bytes = file.subarray(offset, offset + Number(entries.get("length")));
        return [tensor.name!, bytes];
      }),
    );
  }

  const locationsOf = (directory: string, name: string): Set<string | undefined> =>
    new Set(
      ModelProto.decode(readFileSync(join(directory, name))).graph!.initializer.map(
        ({ externalData }) => externalData.find(({ key }) => key === "location")?.value,
      ),
    );

  test("beside the checkpoint refers to its tensors, and holds only what is packed or padded", async () => {
    const directory = mkdtempSync(join(root, "beside-"));
    writeCheckpoint(join(directory, "tiny"), { config: TINY_LLAMA });
    const { graph: model } = await loadModel(join(directory, "tiny"));
    await writeOnnxFile(model, join(directory, "tiny.onnx"), materialise);
    expect(locationsOf(directory, "tiny.onnx")).toEqual(
      new Set([undefined, "tiny/model.safetensors", "tiny.onnx.data"]),
    );
    const read = readInitializers(directory, "tiny.onnx");
    expect([...read.keys()]).toEqual([...model.weights.keys()]);
    for (const weight of model.weights.values()) {
      expect(read.get(weight.name)!.equals(materialise(weight))).toBe(true);
    }
  });

  test("elsewhere holds all bytes, converted to what the graph wants", async () => {
    const [checkpoint, elsewhere] = [mkdtempSync(join(root, "from-")), mkdtempSync(join(root, "to-"))];
    writeCheckpoint(checkpoint, { config: TINY_LLAMA, dtype: "F16" });
    const { graph: model } = await loadModel(checkpoint);
    await writeOnnxFile(model, join(elsewhere, "tiny.onnx"), materialise);
    expect(locationsOf(elsewhere, "tiny.onnx")).toEqual(new Set([undefined, "tiny.onnx.data"]));
    const read = readInitializers(elsewhere, "tiny.onnx");
    for (const weight of model.weights.values()) {
      expect(read.get(weight.name)!.equals(materialise(weight))).toBe(true);
    }
  });

  test("a checkpoint file that is a link is not referred to: readers refuse links", async () => {
    const [checkpoint, linked] = [mkdtempSync(join(root, "real-")), mkdtempSync(join(root, "linked-"))];
    writeCheckpoint(checkpoint, { config: TINY_LLAMA });
    for (const name of ["config.json", "model.safetensors"]) symlinkSync(join(checkpoint, name), join(linked, name));
    const { graph: model } = await loadModel(linked);
    await writeOnnxFile(model, join(linked, "tiny.onnx"), materialise);
    expect(locationsOf(linked, "tiny.onnx")).toEqual(new Set([undefined, "tiny.onnx.data"]));
  });

  test("a graph whose weights are all inline has no second file", async () => {
    const directory = mkdtempSync(join(root, "inline-"));
    const weights = new Map([["c", graph.weights.get("c")!]]);
    await writeOnnxFile({ ...graph, weights }, join(directory, "small.onnx"), materialise);
    expect(existsSync(join(directory, "small.onnx.data"))).toBe(false);
    expect(readInitializers(directory, "small.onnx").get("c")).toEqual(Buffer.from([5, 0, 0, 0, 0, 0, 0, 0]));
  });
});

test("the same weights in float32, float16 and bfloat16, one file or three, give the same bytes", async () => {
  const variants = [{ dtype: "F32" }, { dtype: "F16" }, { dtype: "BF16", numFiles: 3 }] as const;
  const models = await Promise.all(
    variants.map(async (variant) => {
      const directory = mkdtempSync(join(root, "variant-"));
      writeCheckpoint(directory, { config: TINY_LLAMA, ...variant });
      return (await loadModel(directory)).graph.weights;
    }),
  );
  for (const { name } of [...models[0]!.values()].filter(({ dataType }) => dataType !== "int64")) {
    const [float32, float16, bfloat16] = models.map((weights) =>
      materialise({ ...weights.get(name)!, dataType: "float32" }),
    );
    expect(Buffer.compare(float16!, float32!)).toBe(0);
    expect(Buffer.compare(bfloat16!, float32!)).toBe(0);
  }
});
