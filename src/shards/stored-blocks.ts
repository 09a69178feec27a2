/**
 * Takes blocks of 4 bits apart, as a file holds them: rows of blocks go in, the values, scales and minima that native code packs come
 * out. Values are kept; the scales and minima of Q4_K, products of two numbers, are rounded to float16, those of other types are kept.
 * @see https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h (block_q4_0, block_q4_1, block_q4_K)
 */
import { BLOCK_LAYOUTS } from "../model/graph.ts";
import { STORED_BLOCK_SIZE, type StoredBlockType } from "../model/stored-blocks.ts";
import { readFloat16Bits, scaleOfGroup } from "./blocks.ts";
import { float16Value, nearestFloat16 } from "./convert.ts";

/** What packInt4Values takes. */
export interface BlockParts {
  /** [rows, numColumns], 0 to 15. */
  readonly values: Uint8Array;
  readonly numColumns: number;
  /** float16 [rows, blocks] */
  readonly scales: Uint8Array;
  /** float16 [rows, blocks] */
  readonly minima: Uint8Array;
  /** [rows]: the largest of all numbers of the whole row, its minima and 15 times its scales, without their signs. */
  readonly largest: Float32Array;
}

/** How a stored block is read: group `group` of the one at byte `at` of the rows. */
interface BlockReader {
  /** Writes scale and minimum, float16 bits. */
  readonly scale: (rows: Uint8Array, at: number, group: number, halves: Uint16Array) => void;
  /** Writes 32 values from `to` on. */
  readonly values: (rows: Uint8Array, at: number, group: number, values: Uint8Array, to: number) => void;
}

/**
 * Blocks [firstBlock, firstBlock + numBlocks) of 32 inputs of every row.
 * @param rows whole rows of blocks, one after the other
 */
export function takeApart(
  rows: Uint8Array,
  blockType: StoredBlockType,
  { numRows, firstBlock, numBlocks }: { numRows: number; firstBlock: number; numBlocks: number },
): BlockParts {
  const { elements, bytes } = BLOCK_LAYOUTS[blockType];
  const reader = READERS[blockType];
  const groups = elements / STORED_BLOCK_SIZE;
  const rowBytes = numRows === 0 ? 0 : rows.byteLength / numRows;
  const numColumns = numBlocks * STORED_BLOCK_SIZE;
  const values = new Uint8Array(numRows * numColumns);
  const [scales, minima] = [new Uint16Array(numRows * numBlocks), new Uint16Array(numRows * numBlocks)];
  const largest = new Float32Array(numRows);
  const halves = new Uint16Array(2);
  for (let row = 0; row < numRows; row += 1) {
    for (let block = 0; block < (rowBytes / bytes) * groups; block += 1) {
      const group = block % groups;
      const at = row * rowBytes + ((block - group) / groups) * bytes;
      reader.scale(rows, at, group, halves);
      const [scale, minimum] = [float16Value(halves[0]!), float16Value(halves[1]!)];
      const most = Math.max(Math.abs(15 * scale), Math.abs(minimum), Math.abs(15 * scale + minimum));
      if (most > largest[row]!) largest[row] = most;
      if (block < firstBlock || block >= firstBlock + numBlocks) continue;
      const to = row * numBlocks + block - firstBlock;
      scales[to] = halves[0]!;
      minima[to] = halves[1]!;
      reader.values(rows, at, group, values, to * STORED_BLOCK_SIZE);
    }
  }
  return { values, numColumns, scales: new Uint8Array(scales.buffer), minima: new Uint8Array(minima.buffer), largest };
}

const HALF = STORED_BLOCK_SIZE / 2;

/** 16 bytes: the first half of the values in their low halves, the second half in their high halves. */
function readHalves(rows: Uint8Array, from: number, values: Uint8Array, to: number): void {
  for (let i = 0; i < HALF; i += 1) {
    const pair = rows[from + i]!;
    values[to + i] = pair & 15;
    values[to + HALF + i] = pair >> 4;
  }
}

const READERS: Readonly<Record<StoredBlockType, BlockReader>> = {
  Q4_0: {
    scale(rows, at, _, halves) {
      halves[0] = readFloat16Bits(rows, at);
      halves[1] = nearestFloat16(-8 * float16Value(halves[0]));
    },
    values: (rows, at, _, values, to) => readHalves(rows, at + 2, values, to),
  },
  Q4_1: {
    scale(rows, at, _, halves) {
      halves[0] = readFloat16Bits(rows, at);
      halves[1] = readFloat16Bits(rows, at + 2);
    },
    values: (rows, at, _, values, to) => readHalves(rows, at + 4, values, to),
  },
  Q4_K: {
    scale(rows, at, group, halves) {
      const { scale, minimum } = scaleOfGroup(rows, at, group);
      halves[0] = nearestFloat16(scale);
      halves[1] = nearestFloat16(-minimum);
    },
    /** Two groups share 32 bytes, one in their low halves, one in their high halves. */
    values(rows, at, group, values, to) {
      const from = at + 16 + STORED_BLOCK_SIZE * (group >> 1);
      const shift = 4 * (group & 1);
      for (let i = 0; i < STORED_BLOCK_SIZE; i += 1) values[to + i] = (rows[from + i]! >> shift) & 15;
    },
  },
};
