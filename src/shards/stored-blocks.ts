/**
 * Takes blocks of 4 bits apart, as a file holds them: rows of blocks go in, the values, scales and minima that native code packs come
 * out. Values are kept; the scales and minima of Q4_K, products of two numbers, are rounded to float16, those of other types are kept.
 * @see https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h (block_q4_0, block_q4_1, block_q4_K)
 */
import { BLOCK_LAYOUTS } from "../model/graph.ts";
import { STORED_BLOCK_SIZE, type StoredBlockType } from "../model/stored-blocks.ts";
import { readFloat16, scaleOfGroup } from "./blocks.ts";
import { nearestFloat16 } from "./convert.ts";

/** What packInt4Values takes. */
export interface BlockParts {
  /** [rows, numColumns], 0 to 15. */
  readonly values: Uint8Array;
  readonly numColumns: number;
  /** float16 [rows, blocks] */
  readonly scales: Uint8Array;
  /** float16 [rows, blocks] */
  readonly minima: Uint8Array;
}

/** The same, to be written; scales and minima as float16 bits. */
interface OpenParts {
  readonly values: Uint8Array;
  readonly scales: Uint16Array;
  readonly minima: Uint16Array;
}

/** Writes part `group` of the stored block at byte `at` as block `to` of the parts. */
type ReadBlock = (rows: Uint8Array, at: number, group: number, parts: OpenParts, to: number) => void;

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
  const groups = elements / STORED_BLOCK_SIZE;
  const rowBytes = numRows === 0 ? 0 : rows.byteLength / numRows;
  const numColumns = numBlocks * STORED_BLOCK_SIZE;
  const values = new Uint8Array(numRows * numColumns);
  const [scales, minima] = [new Uint16Array(numRows * numBlocks), new Uint16Array(numRows * numBlocks)];
  const parts = { values, scales, minima };
  for (let row = 0; row < numRows; row += 1) {
    for (let block = 0; block < numBlocks; block += 1) {
      const group = (firstBlock + block) % groups;
      const at = row * rowBytes + ((firstBlock + block - group) / groups) * bytes;
      READ[blockType](rows, at, group, parts, row * numBlocks + block);
    }
  }
  return { values, numColumns, scales: new Uint8Array(scales.buffer), minima: new Uint8Array(minima.buffer) };
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

const READ: Readonly<Record<StoredBlockType, ReadBlock>> = {
  Q4_0(rows, at, _, { values, scales, minima }, to) {
    scales[to] = rows[at]! | (rows[at + 1]! << 8);
    minima[to] = nearestFloat16(-8 * readFloat16(rows, at));
    readHalves(rows, at + 2, values, to * STORED_BLOCK_SIZE);
  },
  Q4_1(rows, at, _, { values, scales, minima }, to) {
    scales[to] = rows[at]! | (rows[at + 1]! << 8);
    minima[to] = rows[at + 2]! | (rows[at + 3]! << 8);
    readHalves(rows, at + 4, values, to * STORED_BLOCK_SIZE);
  },
  /** Two groups share 32 bytes, one in their low halves, one in their high halves. */
  Q4_K(rows, at, group, { values, scales, minima }, to) {
    const { scale, minimum } = scaleOfGroup(rows, at, group);
    scales[to] = nearestFloat16(scale);
    minima[to] = nearestFloat16(-minimum);
    const from = at + 16 + STORED_BLOCK_SIZE * (group >> 1);
    const shift = 4 * (group & 1);
    for (let i = 0; i < STORED_BLOCK_SIZE; i += 1) {
      values[to * STORED_BLOCK_SIZE + i] = (rows[from + i]! >> shift) & 15;
    }
  },
};
