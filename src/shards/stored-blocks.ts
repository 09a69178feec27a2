/**
 * Takes blocks of 4 bits apart, as a file holds them: rows of blocks go in, the values, scales and minima that native code packs come
 * out. Nothing is rounded.
 * @see https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h (block_q4_0, block_q4_1)
 */
import { BLOCK_LAYOUTS } from "../model/graph.ts";
import type { StoredBlockType } from "../model/stored-blocks.ts";

/** What packInt4Values takes. */
export interface BlockParts {
  /** [rows, numColumns], 0 to 15. */
  readonly values: Uint8Array;
  readonly numColumns: number;
  /** float16 [rows, blocks] */
  readonly scales: Uint8Array;
  /** float16 [rows, blocks]; of types that have them. */
  readonly minima?: Uint8Array;
}

const HALF_BYTES = 2;

/**
 * Blocks [firstBlock, firstBlock + numBlocks) of every row.
 * @param rows whole rows of blocks, one after the other
 */
export function takeApart(
  rows: Uint8Array,
  blockType: StoredBlockType,
  { numRows, firstBlock, numBlocks }: { numRows: number; firstBlock: number; numBlocks: number },
): BlockParts {
  const { elements, bytes } = BLOCK_LAYOUTS[blockType];
  const rowBytes = numRows === 0 ? 0 : rows.byteLength / numRows;
  const headBytes = blockType === "Q4_1" ? 2 * HALF_BYTES : HALF_BYTES;
  const values = new Uint8Array(numRows * numBlocks * elements);
  const scales = new Uint8Array(numRows * numBlocks * HALF_BYTES);
  const minima = blockType === "Q4_1" ? new Uint8Array(scales.byteLength) : undefined;
  for (let row = 0; row < numRows; row += 1) {
    for (let block = 0; block < numBlocks; block += 1) {
      const from = row * rowBytes + (firstBlock + block) * bytes;
      const to = row * numBlocks + block;
      scales[to * HALF_BYTES] = rows[from]!;
      scales[to * HALF_BYTES + 1] = rows[from + 1]!;
      if (minima !== undefined) {
        minima[to * HALF_BYTES] = rows[from + HALF_BYTES]!;
        minima[to * HALF_BYTES + 1] = rows[from + HALF_BYTES + 1]!;
      }
      // The first half of the values in the low halves of the bytes, the second half in the high halves.
      for (let i = 0; i < elements / 2; i += 1) {
        const pair = rows[from + headBytes + i]!;
        values[to * elements + i] = pair & 15;
        values[to * elements + elements / 2 + i] = pair >> 4;
      }
    }
  }
  return { values, numColumns: numBlocks * elements, scales, ...(minima !== undefined && { minima }) };
}
