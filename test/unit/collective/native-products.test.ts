/** Products with packed weights inside graphs: what the ops compute, how a product is spread over ranks, and what they refuse. */
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { native, type Communicator, type PackedLayout, type SessionWeight } from "../../../src/collective/native.ts";
import { ExecutionError, UsageError } from "../../../src/errors.ts";
import type { Graph, GraphNode, Weight } from "../../../src/model/graph.ts";
import { encodeModel } from "../../../src/model/onnx-format.ts";
import {
  connectAlone,
  connectWorld,
  errorOf,
  float32,
  node,
  numbersOf,
  openRuntime,
  value,
} from "../../support/tiny-graph.ts";

const open: { close(): Promise<void> }[] = [];
let communicator: Communicator;

beforeAll(async () => {
  openRuntime();
  communicator = await connectAlone();
  open.push(communicator);
});

afterAll(async () => {
  for (const resource of open.reverse()) await resource.close();
});

/** Numbers in [-1, 1) that are different and always the same. */
function pseudoRandom(count: number, seed: number): Float32Array {
  let state = seed;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}

const bytesOf = (array: Float32Array | Uint16Array) => new Uint8Array(array.buffer);

/** Columns [begin, end) of a matrix of `numColumns` columns. */
function columns(matrix: Float32Array, numColumns: number, begin: number, end: number): Float32Array {
  return matrix.filter((_, i) => i % numColumns >= begin && i % numColumns < end);
}

/** Packs columns [begin, end) of a weight [outFeatures, numColumns] to 8 bits. */
function packInt8(weight: Float32Array, outFeatures: number, begin: number, end: number) {
  const numColumns = weight.length / outFeatures;
  const whole = { data: bytesOf(weight), dataType: "float32", numColumns, rowStride: numColumns } as const;
  const maxima = new Float32Array(outFeatures);
  native().absoluteMaxima({ source: whole, numRows: outFeatures, maxima, numThreads: 2 });
  const layout = { bits: 8, outFeatures, inFeatures: end - begin } as const;
  const packed = new Uint8Array(native().packedWeightBytes(layout));
  const source = { ...whole, data: whole.data.subarray(begin * 4), numColumns: end - begin };
  native().packInt8({ layout, packed, firstOutput: 0, numOutputs: outFeatures, numThreads: 2, source, maxima });
  return { layout, packed };
}

function attributesOf(layout: PackedLayout): Record<string, number> {
  const shared = { bits: layout.bits, in_features: layout.inFeatures, out_features: layout.outFeatures };
  if (layout.bits !== 4) return shared;
  return {
    ...shared,
    block_size: layout.blockSize,
    has_minimum: Number(layout.hasMinimum),
    in_offset: layout.inOffset,
  };
}

/** x [B, S, inFeatures] -> y, with the packed weight "w". */
function graphOf(inFeatures: number, packedBytes: number, nodes: readonly GraphNode[]): Graph {
  const source = {
    kind: "inline",
    dataType: "uint8",
    shape: [packedBytes],
    bytes: new Uint8Array(packedBytes),
  } as const;
  const weight: Weight = { name: "w", dataType: "uint8", shape: [packedBytes], source };
  return {
    name: "product",
    inputs: [value("x", ["B", "S", inFeatures])],
    outputs: [value("y", ["B", "S", "N"])],
    nodes,
    weights: new Map([["w", weight]]),
  };
}

function createSession(graph: Graph, packed: Uint8Array, on = communicator, intraThreads = 2) {
  const weight: SessionWeight = { name: "w", dataType: "uint8", shape: [packed.length], data: packed };
  return native().createSession({ model: encodeModel(graph), weights: [weight], intraThreads, communicator: on });
}

const productOf = (layout: PackedLayout) =>
  node(layout.bits === 32 ? "PackedMatMul" : "QuantizedMatMul", ["x", "w"], ["y"], attributesOf(layout), "shardrun");

async function multiply(layout: PackedLayout, packed: Uint8Array, x: Float32Array, shape: readonly number[]) {
  const session = await createSession(graphOf(layout.inFeatures, packed.length, [productOf(layout)]), packed);
  const { outputs } = await session.run({ feeds: [float32("x", shape, x)], fetch: ["y"] });
  await session.close();
  expect(outputs[0]!.shape).toEqual([...shape.slice(0, -1), layout.outFeatures]);
  return numbersOf(outputs[0]);
}

/** The product in float64. */
function exactProduct(x: Float32Array, weight: ArrayLike<number>, numInputs: number, outFeatures: number): number[] {
  return Array.from({ length: (x.length / numInputs) * outFeatures }, (_, i) => {
    const [row, output] = [Math.floor(i / outFeatures), i % outFeatures];
    let sum = 0;
    for (let k = 0; k < numInputs; k++) sum += x[row * numInputs + k]! * weight[output * numInputs + k]!;
    return sum;
  });
}

/** The largest difference, as a share of the largest value. */
function relativeError(received: readonly number[], expected: readonly number[]): number {
  const differences = expected.map((number, i) => Math.abs(number - received[i]!));
  return Math.max(...differences) / Math.max(...expected.map(Math.abs));
}

const [OUT, IN] = [37, 200];
const WEIGHT = pseudoRandom(OUT * IN, 1);
const X = pseudoRandom(2 * 3 * IN, 2);

describe("PackedMatMul", () => {
  const layout = { bits: 32, outFeatures: OUT, inFeatures: IN } as const;
  test("is the product of floats, the same for a row alone and for no rows", async () => {
    const packed = new Uint8Array(native().packedWeightBytes(layout));
    const source = { data: bytesOf(WEIGHT), dataType: "float32", numColumns: IN, rowStride: IN } as const;
    native().packFloat32({ layout, packed, firstOutput: 0, numOutputs: OUT, numThreads: 2, source });
    const y = await multiply(layout, packed, X, [2, 3, IN]);
    expect(relativeError(y, exactProduct(X, WEIGHT, IN, OUT))).toBeLessThan(1e-6);
    expect(await multiply(layout, packed, X.subarray(IN, 2 * IN), [1, 1, IN])).toEqual(y.slice(OUT, 2 * OUT));
    expect(await multiply(layout, packed, new Float32Array(0), [1, 0, IN])).toEqual([]);
  });
});

describe("QuantizedMatMul", () => {
  test("of 8 bits is near the product of floats, for any number of rows", async () => {
    const { layout, packed } = packInt8(WEIGHT, OUT, 0, IN);
    const exact = exactProduct(X, WEIGHT, IN, OUT);
    expect(relativeError(await multiply(layout, packed, X, [2, 3, IN]), exact)).toBeLessThan(0.01);
    expect(
      relativeError(await multiply(layout, packed, X.subarray(0, IN), [1, 1, IN]), exact.slice(0, OUT)),
    ).toBeLessThan(0.01);
    expect(await multiply(layout, packed, new Float32Array(0), [1, 0, IN])).toEqual([]);
  });

  test("of 4 bits, quantised here, is near the product of floats", async () => {
    const layout = {
      bits: 4,
      outFeatures: OUT,
      inFeatures: IN,
      blockSize: 32,
      hasMinimum: false,
      inOffset: 0,
    } as const;
    const packed = new Uint8Array(native().packedWeightBytes(layout));
    const source = { data: bytesOf(WEIGHT), dataType: "float32", numColumns: IN, rowStride: IN } as const;
    const bounds = new Float32Array(OUT).fill(4);
    native().packInt4({ layout, packed, firstOutput: 0, numOutputs: OUT, numThreads: 2, source, bounds });
    const y = await multiply(layout, packed, X, [2, 3, IN]);
    expect(relativeError(y, exactProduct(X, WEIGHT, IN, OUT))).toBeLessThan(0.1);
  });

  test("of 4 bits takes given values, scales and minima", async () => {
    const layout = { bits: 4, outFeatures: 3, inFeatures: 64, blockSize: 32, hasMinimum: true, inOffset: 0 } as const;
    const values = Uint8Array.from({ length: 3 * 64 }, (_, i) => (i * 7) % 16);
    const [half, one, minusTwo] = [0x3800, 0x3c00, 0xc000];
    const packed = new Uint8Array(native().packedWeightBytes(layout));
    native().packInt4Values({
      ...{ layout, packed, firstOutput: 0, numOutputs: 3, numThreads: 1, values, numColumns: 64 },
      scales: bytesOf(Uint16Array.from([half, one, half, one, half, one])),
      minima: bytesOf(new Uint16Array(6).fill(minusTwo)),
      bounds: new Float32Array(3).fill(16),
    });
    const weight = Array.from(values, (q, i) => q * (i % 64 < 32 ? 0.5 : 1) - 2);
    // whole numbers whose largest per 32 is 127 are their own int8 values
    const x = Float32Array.from({ length: 64 }, (_, i) => (i % 32 === 5 ? 127 : ((i * 37) % 255) - 127));
    expect(await multiply(layout, packed, x, [1, 1, 64])).toEqual(exactProduct(x, weight, 64, 3));
  });

  test("gives the same bits with any number of threads and with every instruction set", async () => {
    const { layout, packed } = packInt8(WEIGHT, OUT, 0, IN);
    const expected = await multiply(layout, packed, X, [2, 3, IN]);
    for (const kernels of native().supportedKernels().reverse()) {
      native().chooseKernels(kernels);
      expect(await multiply(layout, packed, X, [2, 3, IN])).toEqual(expected);
    }
  });
});

test("a product spread over ranks has the bits of one rank", async () => {
  const { layout, packed } = packInt8(WEIGHT, OUT, 0, IN);
  const expected = await multiply(layout, packed, X, [2, 3, IN]);
  const communicators = await connectWorld(3);
  const cuts = [0, 63, 150, IN];
  const results = await Promise.all(
    communicators.map(async (own, rank) => {
      const [begin, end] = [cuts[rank]!, cuts[rank + 1]!];
      const part = packInt8(WEIGHT, OUT, begin, end);
      const attributes = attributesOf(part.layout);
      const graph = graphOf(end - begin, part.packed.length, [
        node("AllReduceOctaves", ["x"], ["octaves", "token"], { label: "octaves" }, "shardrun"),
        node("IntegerMatMul", ["x", "octaves", "w"], ["own_sums"], attributes, "shardrun"),
        node(
          "AllReduceRescale",
          ["own_sums", "octaves", "w", "token"],
          ["y", "token_2"],
          { ...attributes, label: "o_proj" },
          "shardrun",
        ),
      ]);
      const session = await createSession(graph, part.packed, own, 1);
      const feed = float32("x", [2, 3, end - begin], columns(X, IN, begin, end));
      const { outputs } = await session.run({ feeds: [feed], fetch: ["y"] });
      await session.close();
      return numbersOf(outputs[0]);
    }),
  );
  expect(results).toEqual([expected, expected, expected]);
  for (const own of communicators) await own.close();
});

describe("refusals", () => {
  test("a packed weight of another size", async () => {
    const { layout, packed } = packInt8(WEIGHT, OUT, 0, IN);
    const session = await createSession(graphOf(IN, packed.length - 64, [productOf(layout)]), packed.subarray(64));
    expect(
      await errorOf(() => session.run({ feeds: [float32("x", [1, 1, IN], X.subarray(0, IN))], fetch: ["y"] })),
    ).toEqual(
      new ExecutionError(
        `QuantizedMatMul "y_node" expected a packed weight of ${packed.length} bytes, received ${packed.length - 64}.`,
      ),
    );
    await session.close();
  });

  test("x with another number of features", async () => {
    const { layout, packed } = packInt8(WEIGHT, OUT, 0, IN);
    const graph = { ...graphOf(IN, packed.length, [productOf(layout)]), inputs: [value("x", ["B", "S", "K"])] };
    const session = await createSession(graph, packed);
    expect(await errorOf(() => session.run({ feeds: [float32("x", [1, 1, 3], [1, 2, 3])], fetch: ["y"] }))).toEqual(
      new ExecutionError(
        'QuantizedMatMul "y_node" expected 200 features along the last axis of input 0, received shape [1, 1, 3].',
      ),
    );
    await session.close();
  });

  test("octaves of other rows", async () => {
    const { layout, packed } = packInt8(WEIGHT, OUT, 0, IN);
    const graph = graphOf(IN, packed.length, [
      node("AllReduceOctaves", ["x"], ["all"], { label: "octaves" }, "shardrun"),
      node("Concat", ["all", "all"], ["twice"], { axis: 0 }),
      node("IntegerMatMul", ["x", "twice", "w"], ["sums"], attributesOf(layout), "shardrun"),
      node("AllReduceRescale", ["sums", "twice", "w"], ["y"], { ...attributesOf(layout), label: "o_proj" }, "shardrun"),
    ]);
    const session = await createSession(graph, packed);
    expect(await errorOf(() => session.run({ feeds: [float32("x", [2, 3, IN], X)], fetch: ["y"] }))).toEqual(
      new ExecutionError('IntegerMatMul "sums_node" expected the octaves of 6 rows, received shape [4, 3, 64].'),
    );
    await session.close();
  });

  test("a layout that does not exist, in a graph and when packing", async () => {
    const layout = { bits: 4, outFeatures: 1, inFeatures: 1, blockSize: 48, hasMinimum: false, inOffset: 0 } as const;
    const message = "A packed weight of 4 bits has blocks of a multiple of 32 inputs, received block size 48.";
    expect(await errorOf(() => native().packedWeightBytes(layout))).toEqual(new UsageError(message));
    expect(await errorOf(() => createSession(graphOf(1, 64, [productOf(layout)]), new Uint8Array(64)))).toEqual(
      new UsageError(message),
    );
  });

  test("packing from or into memory of the wrong size", async () => {
    const layout = { bits: 8, outFeatures: 2, inFeatures: 4 } as const;
    const source = { data: new Uint8Array(32), dataType: "float32", numColumns: 4, rowStride: 4 } as const;
    const good = {
      ...{ layout, packed: new Uint8Array(128), firstOutput: 0, numOutputs: 2, numThreads: 1 },
      ...{ source, maxima: new Float32Array(2) },
    };
    const failed = (what: string) => new UsageError(`Packing a weight failed: ${what}`);
    const message = (options: object) => errorOf(() => native().packInt8({ ...good, ...options }));
    expect(await message({ packed: new Uint8Array(64) })).toEqual(
      failed("the packed weight takes 128 bytes, received 64."),
    );
    expect(await message({ maxima: new Float32Array(1) })).toEqual(failed("its row maxima takes 8 bytes, received 4."));
    expect(await message({ firstOutput: 1 })).toEqual(failed("it has 2 output features, received 2 from 1 on."));
    expect(await message({ source: { ...source, rowStride: 5 } })).toEqual(
      failed("its source takes 36 bytes, received 32."),
    );
    expect(await message({ source: { ...source, numColumns: 3 } })).toEqual(
      failed("its source has 4 to 4 columns, received 3."),
    );
  });

  test("kernels that this CPU does not have", async () => {
    const error = await errorOf(() => native().chooseKernels("mmx"));
    expect(error).toBeInstanceOf(UsageError);
    expect((error as Error).message).toMatch(
      /^This CPU has no kernels "mmx": set SHARDRUN_KERNELS to one of (\w+, )*plain\.$/,
    );
  });
});
