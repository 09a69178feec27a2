/** Matrices that a file holds in 4 bits are packed with the file's own values, wherever they are cut. */
import { describe, expect, test } from "@jest/globals";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { BLOCK_LAYOUTS, type BlockType, type Weight, type WeightSource } from "../../../src/model/graph.ts";
import { packedLayoutOf, takeFromWeight } from "../../../src/model/packed-layout.ts";
import { quantizeGraph } from "../../../src/model/quantize.ts";
import { divideOutputs, findStoredBlocks } from "../../../src/model/stored-blocks.ts";
import { makeWeight } from "../../../src/shards/make-weight.ts";
import { GraphSketch } from "../../support/graph-sketch.ts";
import { useTemporaryDirectory } from "../../support/temporary-directory.ts";
import { readFileRange } from "./support.ts";

const NUM_OUT = 20;
const NUM_IN = 512;
const directory = useTemporaryDirectory();

/** Random bytes, but for scales and minima that are small numbers. */
function stored(blockType: BlockType): WeightSource {
  const { elements, bytes: blockBytes } = BLOCK_LAYOUTS[blockType];
  const length = (NUM_OUT * NUM_IN * blockBytes) / elements;
  const bytes = Uint8Array.from({ length }, (_, i) => (i * i * 31 + i * 7) % 256);
  for (let at = 0; at < length; at += blockBytes) {
    bytes[at + (blockType === "Q6_K" ? 209 : 1)] = 0x20 + (at % 8);
    if (blockType === "Q4_1") bytes[at + 3] = 0xa0 + (at % 8);
    if (blockType === "Q4_K") bytes[at + 3] = 0x20 + (at % 7);
  }
  const file = join(directory, blockType);
  writeFileSync(file, bytes);
  return { kind: "blocks", file, offset: 0, blockType, shape: [NUM_OUT, NUM_IN] };
}

/** As quantizeGraph makes it of a product with this matrix. */
function quantized(source: WeightSource, blockSize?: number, numOut = NUM_OUT): Weight {
  const sketch = new GraphSketch();
  sketch.weights.set("w", { name: "w", dataType: "float32", shape: [numOut, NUM_IN], source });
  sketch.output(sketch.node("FusedMatMul", ["input_ids", "w"], { transB: 1 }), ["B", "S", numOut]);
  return quantizeGraph(sketch.build(), { computeType: "int4", blockSize }).weights.get("w")!;
}

/** The numbers that a packed matrix of 4 bits stands for; native/kernels/packed_weight.h. */
function unpack(weight: Weight): number[] {
  const layout = packedLayoutOf(weight)!;
  if (layout.bits !== 4) throw new Error("not 4 bits");
  const { outFeatures, inFeatures, inOffset, hasMinimum } = layout;
  const packed = makeWeight(weight, readFileRange);
  const numBlocks = Math.ceil((inOffset + inFeatures) / 32);
  const boundBytes = 64;
  const headBytes = Math.ceil((numBlocks * 32) / 64) * 64;
  const groups = boundBytes + headBytes * (hasMinimum ? 2 : 1);
  const tileBytes = groups + numBlocks * 32 * 8;
  const half = (at: number): number => readHalf(packed[at]! | (packed[at + 1]! << 8));
  return Array.from({ length: outFeatures * inFeatures }, (_, i) => {
    const [n, k] = [Math.floor(i / inFeatures), inOffset + (i % inFeatures)];
    const tile = Math.floor(n / 16) * tileBytes;
    const block = tile + boundBytes + (Math.floor(k / 32) * 16 + (n % 16)) * 2;
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

/** What float32's last bits may add up to, and for Q4_K the rounding of scale and minimum to float16. */
function expectClose(values: readonly number[], expected: readonly number[], blockType: BlockType): void {
  const largest = Math.max(...expected.map(Math.abs));
  const most = values.reduce((far, value, i) => Math.max(far, Math.abs(value - expected[i]!)), 0);
  expect(values).toHaveLength(expected.length);
  expect(most).toBeLessThan(largest * (blockType === "Q4_K" ? 2 ** -10 : 2 ** -20));
}

describe.each(["Q4_0", "Q4_1", "Q4_K"] as const)("%s", (blockType) => {
  test("the packed matrix has the numbers of the file", () => {
    const source = stored(blockType);
    expectClose(unpack(quantized(source)), expand(source, [NUM_OUT, NUM_IN]), blockType);
  });

  test.each([
    [0, 512],
    [32, 64],
    [40, 41],
    [20, 490],
    [250, 300],
  ])("inputs %i to %i too, also where the cut goes through a block", (begin, end) => {
    const source = stored(blockType);
    const part = takeFromWeight(quantized(source), 1, [{ begin, end }]);
    const expected = expand({ kind: "take", of: source, axis: 1, runs: [{ begin, end }] }, [NUM_OUT, end - begin]);
    expectClose(unpack(part), expected, blockType);
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
    expect(quantized(stored(blockType), 64).packing).not.toHaveProperty("keepsBlocks");
    expect(quantized(stored(blockType), 32).packing).toMatchObject({
      keepsBlocks: true,
      hasMinima: blockType !== "Q4_0",
    });
  });
});

describe("q|k|v of several types", () => {
  const parts = [stored("Q4_K"), stored("Q4_0"), stored("Q6_K"), stored("Q4_1")];
  const joined: WeightSource = { kind: "concat", axis: 0, parts };
  const packed = quantized(joined, 32, 4 * NUM_OUT);
  const unpacked = unpack(packed);
  const rowsOf = (part: number) => unpacked.slice(part * NUM_OUT * NUM_IN, (part + 1) * NUM_OUT * NUM_IN);

  test("if one of them has more than 4 bits all go in 8, and in 4 if they all have 4", () => {
    expect(quantized(joined, undefined, 4 * NUM_OUT).packing).toMatchObject({ bits: 8, blockSize: 0 });
    const others: WeightSource = { kind: "concat", axis: 0, parts: parts.toSpliced(2, 1) };
    expect(quantized(others, undefined, 3 * NUM_OUT).packing).toMatchObject({ bits: 4, keepsBlocks: true });
  });

  test("with a block size each part in 4 bits keeps its blocks, what is stored in more is quantised", () => {
    expectClose(rowsOf(0), expand(parts[0]!, [NUM_OUT, NUM_IN]), "Q4_K");
    expectClose(rowsOf(1), expand(parts[1]!, [NUM_OUT, NUM_IN]), "Q4_0");
    expectClose(rowsOf(3), expand(parts[3]!, [NUM_OUT, NUM_IN]), "Q4_1");
    expect(rowsOf(2)).toEqual(unpack(quantized(parts[2]!, 32)));
  });

  test("a rank's outputs, whichever parts they lie in, are those of the whole", () => {
    const runs = [
      { begin: 15, end: 50 },
      { begin: 0, end: 3 },
      { begin: 61, end: 80 },
    ];
    expect(unpack(takeFromWeight(packed, 0, runs))).toEqual(
      runs.flatMap(({ begin, end }) => unpacked.slice(begin * NUM_IN, end * NUM_IN)),
    );
  });

  test("a turned and cut matrix is divided where its parts meet", () => {
    const runs = [
      { begin: 15, end: 50 },
      { begin: 0, end: 3 },
    ];
    const divided = divideOutputs({ kind: "take", of: joined, axis: 0, runs });
    expect(divided.map(({ numOutputs }) => numOutputs)).toEqual([5, 20, 10, 3]);
    expect(divided.at(-1)!.source).toMatchObject({ of: parts[0], runs: [{ begin: 0, end: 3 }] });
  });
});

describe("a matrix in more than 4 bits", () => {
  const FLOATS: WeightSource = {
    ...{ kind: "inline", dataType: "float32", shape: [NUM_OUT, NUM_IN] },
    bytes: new Uint8Array(NUM_OUT * NUM_IN * 4),
  };

  /** The bits of matrices that one file holds in these forms. */
  function bitsOf(sources: readonly WeightSource[], blockSize?: number): number[] {
    const sketch = new GraphSketch();
    for (const [index, source] of sources.entries()) {
      sketch.weights.set(`w${index}`, { name: `w${index}`, dataType: "float32", shape: [NUM_OUT, NUM_IN], source });
      sketch.output(sketch.node("FusedMatMul", ["input_ids", `w${index}`], { transB: 1 }), ["B", "S", NUM_OUT]);
    }
    const { weights } = quantizeGraph(sketch.build(), { computeType: "int4", blockSize });
    return sources.map((_, index) => weights.get(`w${index}`)!.packing!.bits);
  }

  test("goes in 8 where the file holds another in 4, whatever its own type", () => {
    expect(bitsOf([stored("Q4_0"), stored("Q6_K"), stored("Q5_0"), stored("Q8_0"), FLOATS])).toEqual([4, 8, 8, 8, 8]);
  });

  test("goes in 4 where the file holds none in 4, or a block size is given", () => {
    expect(bitsOf([stored("Q6_K"), stored("Q8_0"), FLOATS])).toEqual([4, 4, 4]);
    expect(bitsOf([stored("Q4_K"), stored("Q6_K"), FLOATS], 32)).toEqual([4, 4, 4]);
  });
});

test("blocks are kept only whole", () => {
  const inputs = (blockType: BlockType, begin: number, end: number): WeightSource => ({
    kind: "take",
    of: stored(blockType),
    axis: 1,
    runs: [{ begin, end }],
  });
  expect(findStoredBlocks(inputs("Q4_0", 32, 64))?.bytes).toMatchObject({ runs: [{ begin: 18, end: 36 }] });
  expect(findStoredBlocks(inputs("Q4_0", 32, 60))).toBeUndefined();
  expect(findStoredBlocks(inputs("Q4_K", 256, 512))?.bytes).toMatchObject({ runs: [{ begin: 144, end: 288 }] });
  expect(findStoredBlocks(inputs("Q4_K", 32, 64))).toBeUndefined();
  expect(findStoredBlocks(stored("Q6_K"))).toBeUndefined();
});
