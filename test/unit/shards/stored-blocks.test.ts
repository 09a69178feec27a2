/** Matrices that a file holds in 4 bits are packed with the file's own values, wherever they are cut. */
import { describe, expect, test } from "@jest/globals";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { BLOCK_LAYOUTS, type Weight, type WeightSource } from "../../../src/model/graph.ts";
import { packedLayoutOf, takeFromWeight } from "../../../src/model/packed-layout.ts";
import { quantizeGraph } from "../../../src/model/quantize.ts";
import { findStoredBlocks, type StoredBlockType } from "../../../src/model/stored-blocks.ts";
import { makeWeight } from "../../../src/shards/make-weight.ts";
import { GraphSketch } from "../../support/graph-sketch.ts";
import { useTemporaryDirectory } from "../../support/temporary-directory.ts";
import { readFileRange } from "./support.ts";

const NUM_OUT = 20;
const NUM_IN = 96;
const directory = useTemporaryDirectory();

/** Random bytes, but for scales and minima that are small numbers. */
function stored(blockType: StoredBlockType): WeightSource {
  const { bytes: blockBytes } = BLOCK_LAYOUTS[blockType];
  const bytes = Uint8Array.from({ length: (NUM_OUT * NUM_IN * blockBytes) / 32 }, (_, i) => (i * i * 31 + i * 7) % 256);
  for (let at = 0; at < bytes.length; at += blockBytes) {
    bytes[at + 1] = 0x20 + (at % 8);
    if (blockType === "Q4_1") bytes[at + 3] = 0xa0 + (at % 8);
  }
  const file = join(directory, blockType);
  writeFileSync(file, bytes);
  return { kind: "blocks", file, offset: 0, blockType, shape: [NUM_OUT, NUM_IN] };
}

/** As quantizeGraph makes it of a product with this matrix. */
function quantized(source: WeightSource, blockSize?: number): Weight {
  const sketch = new GraphSketch();
  sketch.weights.set("w", { name: "w", dataType: "float32", shape: [NUM_OUT, NUM_IN], source });
  sketch.output(sketch.node("FusedMatMul", ["input_ids", "w"], { transB: 1 }), ["B", "S", NUM_OUT]);
  return quantizeGraph(sketch.build(), { computeType: "int4", blockSize }).weights.get("w")!;
}

/** The numbers that a packed matrix of 4 bits stands for; native/kernels/packed_weight.h. */
function unpack(weight: Weight): number[] {
  const layout = packedLayoutOf(weight)!;
  if (layout.bits !== 4) throw new Error("not 4 bits");
  const { outFeatures, inFeatures, inOffset, hasMinimum } = layout;
  const packed = makeWeight(weight, readFileRange);
  const numBlocks = Math.ceil((inOffset + inFeatures) / 32);
  const headBytes = Math.ceil((numBlocks * 32) / 64) * 64;
  const groups = headBytes * (hasMinimum ? 2 : 1);
  const tileBytes = groups + numBlocks * 32 * 8;
  const half = (at: number): number => readHalf(packed[at]! | (packed[at + 1]! << 8));
  return Array.from({ length: outFeatures * inFeatures }, (_, i) => {
    const [n, k] = [Math.floor(i / inFeatures), inOffset + (i % inFeatures)];
    const tile = Math.floor(n / 16) * tileBytes;
    const block = tile + (Math.floor(k / 32) * 16 + (n % 16)) * 2;
    const pair = packed[tile + groups + Math.floor(k / 8) * 64 + (n % 16) * 4 + (k % 4)]!;
    const scale = half(block);
    return scale * (k % 8 < 4 ? pair & 15 : pair >> 4) + (hasMinimum ? half(block + headBytes) : -8 * scale);
  });
}

function readHalf(bits: number): number {
  const value = (1 + (bits & 1023) / 1024) * 2 ** (((bits >> 10) & 31) - 15);
  return bits & 0x8000 ? -value : value;
}

/** The same by way of float32. */
function expand(source: WeightSource, shape: readonly number[]): number[] {
  const bytes = makeWeight({ name: "w", dataType: "float32", shape, source }, readFileRange);
  return [...new Float32Array(bytes.slice().buffer)];
}

describe.each(["Q4_0", "Q4_1"] as const)("%s", (blockType) => {
  test("the packed matrix has the numbers of the file, up to float32's last bits", () => {
    const source = stored(blockType);
    const expected = expand(source, [NUM_OUT, NUM_IN]);
    unpack(quantized(source)).forEach((value, i) => expect(value).toBeCloseTo(expected[i]!, 6));
  });

  test.each([
    [0, 96],
    [32, 64],
    [40, 41],
    [20, 90],
  ])("inputs %i to %i too, also where the cut goes through a block", (begin, end) => {
    const source = stored(blockType);
    const part = takeFromWeight(quantized(source), 1, [{ begin, end }]);
    const expected = expand({ kind: "take", of: source, axis: 1, runs: [{ begin, end }] }, [NUM_OUT, end - begin]);
    unpack(part).forEach((value, i) => expect(value).toBeCloseTo(expected[i]!, 6));
  });

  test("joined, permuted and cut outputs too", () => {
    const source = stored(blockType);
    const runs = [
      { begin: 7, end: 20 },
      { begin: 0, end: 7 },
    ];
    const turned: WeightSource = { kind: "take", of: source, axis: 0, runs };
    expect(unpack(quantized(turned))).toEqual([
      ...unpack(quantized(source)).slice(7 * NUM_IN),
      ...unpack(quantized(source)).slice(0, 7 * NUM_IN),
    ]);
    const part = takeFromWeight(quantized(turned), 0, [{ begin: 3, end: 5 }]);
    expect(unpack(part)).toEqual(unpack(quantized(source)).slice(10 * NUM_IN, 12 * NUM_IN));
  });

  test("blocks of another size are quantised anew", () => {
    expect(quantized(stored(blockType), 64).packing).not.toHaveProperty("stored");
    expect(quantized(stored(blockType), 32).packing).toMatchObject({ stored: blockType });
  });
});

test("blocks are kept only whole and of one type", () => {
  const [first, second] = [stored("Q4_0"), stored("Q4_1")];
  const inputs = (begin: number, end: number): WeightSource => ({
    kind: "take",
    of: first,
    axis: 1,
    runs: [{ begin, end }, { zeros: 32 }],
  });
  expect(findStoredBlocks({ kind: "concat", axis: 0, parts: [first, first] })?.blockType).toBe("Q4_0");
  expect(findStoredBlocks({ kind: "concat", axis: 0, parts: [first, second] })).toBeUndefined();
  expect(findStoredBlocks(inputs(32, 64))?.bytes).toMatchObject({ runs: [{ begin: 18, end: 36 }, { zeros: 18 }] });
  expect(findStoredBlocks(inputs(32, 60))).toBeUndefined();
  expect(
    findStoredBlocks({ kind: "blocks", file: "f", offset: 0, blockType: "Q6_K", shape: [1, 256] }),
  ).toBeUndefined();
});
