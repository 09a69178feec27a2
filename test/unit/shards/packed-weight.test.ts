/** Packing by parts: outputs and inputs of a matrix, in any stored type and layout, are packed as the whole matrix is. */
import { describe, expect, test } from "@jest/globals";
import type { Packing, Weight } from "../../../src/model/graph.ts";
import { boundOf, packedLayoutOf, takeFromWeight } from "../../../src/model/packed-layout.ts";
import { isPacked, packWeight } from "../../../src/shards/packed-weight.ts";
import { readFileRange } from "./support.ts";

const NUM_OUT = 48;
const NUM_IN = 200;

/** Numbers that bfloat16 and float16 hold exactly: the upper half of float32 bits, 7 bits of fraction. */
const values = Float32Array.from({ length: NUM_OUT * NUM_IN }, (_, i) => Math.round(100 * Math.sin(i * i)) / 128);
const bfloat16 = new Uint16Array(new Uint32Array(values.buffer).map((bits) => bits >>> 16));

function matrix(packing: Omit<Packing, "inputs">, stored: "float32" | "bfloat16" = "float32"): Weight {
  const turned = Float32Array.from(values, (_, i) => values[(i % NUM_OUT) * NUM_IN + Math.floor(i / NUM_OUT)]!);
  const floats = packing.isTransposed ? turned : values;
  const bytes = new Uint8Array(stored === "float32" ? floats.buffer : bfloat16.buffer);
  const shape = packing.isTransposed ? [NUM_IN, NUM_OUT] : [NUM_OUT, NUM_IN];
  return {
    name: "w",
    dataType: "uint8",
    shape: [NUM_OUT, NUM_IN],
    source: { kind: "inline", dataType: stored, shape, bytes },
    packing: { ...packing, inputs: [{ begin: 0, end: NUM_IN }] },
  };
}

function pack(weight: Weight): Uint8Array {
  if (!isPacked(weight)) throw new Error("not packed");
  return packWeight(weight, readFileRange);
}

const INT8 = { bits: 8, blockSize: 0, isTransposed: false } as const;
const INT4 = { bits: 4, blockSize: 32, isTransposed: false } as const;

const FLOAT32 = { bits: 32, blockSize: 0, isTransposed: false } as const;

describe.each([FLOAT32, INT8, INT4])("$bits bits", (packing) => {
  const whole = pack(matrix(packing));

  test("a matrix stored [in, out] or in another type packs alike", () => {
    expect(pack(matrix({ ...packing, isTransposed: true }))).toEqual(whole);
    expect(pack(matrix(packing, "bfloat16"))).toEqual(whole);
  });

  test("outputs 16 to 32 are the second tile", () => {
    const tileBytes = whole.byteLength / 3;
    const part = takeFromWeight(matrix(packing), 0, [{ begin: 16, end: 32 }]);
    expect(pack(part)).toEqual(whole.subarray(tileBytes, 2 * tileBytes));
  });

  test("no inputs leave the scales of 8 bits and the bounds of 4", () => {
    const part = takeFromWeight(matrix(packing), 1, []);
    const packed = pack(part);
    expect(packed.byteLength).toBe(packing.bits === 32 ? 0 : 3 * 64);
    if (packing.bits !== 32) expect(packed.subarray(0, 64)).toEqual(whole.subarray(0, 64));
  });
});

test("32 bits are the floats, input by input of a tile of 16 outputs", () => {
  const [begin, end] = [3, 53];
  const packed = pack(takeFromWeight(matrix(FLOAT32), 1, [{ begin, end }]));
  const floats = new Float32Array(packed.buffer);
  const unpacked = Array.from({ length: NUM_OUT * (end - begin) }, (_, i) => {
    const [output, input] = [Math.floor(i / (end - begin)), i % (end - begin)];
    return floats[(Math.floor(output / 16) * (end - begin) + input) * 16 + (output % 16)];
  });
  expect(unpacked).toEqual([...values].filter((_, i) => i % NUM_IN >= begin && i % NUM_IN < end));
});

/** The integers and scales of 8 bits, [out][in]; native/kernels/packed_weight.h. */
function unpackInt8(packed: Uint8Array, numInputs: number): number[][] {
  const tileBytes = 64 + Math.ceil(numInputs / 4) * 64;
  return Array.from({ length: NUM_OUT }, (_, n) => {
    const tile = packed.subarray(Math.floor(n / 16) * tileBytes, (Math.floor(n / 16) + 1) * tileBytes);
    const scale = new DataView(tile.buffer, tile.byteOffset).getFloat32((n % 16) * 4, true);
    return Array.from(
      { length: numInputs },
      (_, k) => scale * (tile[64 + Math.floor(k / 4) * 64 + (n % 16) * 4 + (k % 4)]! - 128),
    );
  });
}

test("inputs of 8 bits in several stretches have the scales of whole rows", () => {
  const whole = unpackInt8(pack(matrix(INT8)), NUM_IN);
  const runs = [
    { begin: 3, end: 50 },
    { begin: 120, end: 121 },
  ];
  const part = unpackInt8(pack(takeFromWeight(matrix(INT8), 1, runs)), 48);
  expect(part).toEqual(whole.map((row) => [...row.slice(3, 50), row[120]]));
});

/** The scales of 4 bits: float16 [blocks][16] at the beginning of a tile. */
function scalesInt4(packed: Uint8Array, numBlocks: number): Uint16Array {
  const boundBytes = 64;
  return new Uint16Array(packed.slice(boundBytes, boundBytes + numBlocks * 32).buffer);
}

test("a cut inside a block of 4 bits keeps the block's scale", () => {
  const whole = scalesInt4(pack(matrix(INT4)), 7);
  for (const [begin, end] of [
    [0, 40],
    [40, 60],
    [60, 200],
  ] as const) {
    const part = takeFromWeight(matrix(INT4), 1, [{ begin, end }]);
    expect(packedLayoutOf(part)).toMatchObject({ inOffset: begin % 32, inFeatures: end - begin });
    const [first, last] = [Math.floor(begin / 32), Math.ceil(end / 32)];
    expect(scalesInt4(pack(part), last - first)).toEqual(whole.subarray(first * 16, last * 16));
  }
});

test.each([
  [1, 200, 1],
  [1.5, 200, 2],
  [0.3, 8192, 0.5],
  [0.5, 8192, 0.5],
  [0.5, 8193, 1],
  [3, 20000, 8],
  [0, 200, 1],
])("the bound of an output whose largest number is %p, of %p inputs: %p", (largest, numInputs, bound) => {
  expect(boundOf(largest, numInputs)).toBe(bound);
});
