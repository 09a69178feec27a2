/**
 * Expands blocks of quantised weights, as GGUF files hold them, to float32: every value is the one that ggml's own
 * dequantisation gives, bit for bit. Its own file because these loops decide how fast a GGUF file loads.
 * All numbers are little-endian; `d` is the scale of a block, `m` its minimum, both float16.
 * @see https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h (the layout of each block)
 */
import { BLOCK_LAYOUTS, type BlockType } from "../model/graph.ts";
import { float16Value, type CopyElements } from "./convert.ts";

/** Writes the elements of the block at byte `at` to `output` from `to` on. */
type ExpandBlock = (bytes: Uint8Array, at: number, output: Float32Array, to: number) => void;

/**
 * A copier from whole blocks into `destination` (float32, aligned).
 * @param begin the element that the copier's source positions count from; it lies in the first block
 */
export function expandInto(blocks: Uint8Array, type: BlockType, begin: number, destination: Uint8Array): CopyElements {
  const { elements, bytes } = BLOCK_LAYOUTS[type];
  const expand = EXPAND[type];
  const output = new Float32Array(destination.buffer, destination.byteOffset, destination.byteLength / 4);
  const scratch = new Float32Array(elements);
  const first = begin % elements;
  return (sourceStart, destinationStart, count) => {
    for (let done = 0; done < count;) {
      const element = first + sourceStart + done;
      const inBlock = element % elements;
      const at = ((element - inBlock) / elements) * bytes;
      const length = Math.min(elements - inBlock, count - done);
      if (length === elements) {
        expand(blocks, at, output, destinationStart + done);
      } else {
        // A cut inside the block.
        expand(blocks, at, scratch, 0);
        output.set(scratch.subarray(inBlock, inBlock + length), destinationStart + done);
      }
      done += length;
    }
  };
}

const HALF = 16;

export function readFloat16Bits(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8);
}

function readFloat16(bytes: Uint8Array, at: number): number {
  return float16Value(readFloat16Bits(bytes, at));
}

/** d, 16 bytes of two 4-bit numbers: the first 16 elements in their low halves, the others in their high halves. */
const expandQ40: ExpandBlock = (bytes, at, output, to) => {
  const d = readFloat16(bytes, at);
  for (let i = 0; i < HALF; i += 1) {
    const pair = bytes[at + 2 + i]!;
    output[to + i] = ((pair & 15) - 8) * d;
    output[to + HALF + i] = ((pair >> 4) - 8) * d;
  }
};

/** d, m, then as Q4_0. */
const expandQ41: ExpandBlock = (bytes, at, output, to) => {
  const d = readFloat16(bytes, at);
  const m = readFloat16(bytes, at + 2);
  for (let i = 0; i < HALF; i += 1) {
    const pair = bytes[at + 4 + i]!;
    output[to + i] = (pair & 15) * d + m;
    output[to + HALF + i] = (pair >> 4) * d + m;
  }
};

/** d, 32 bits that are the fifth bits of the elements in order, then as Q4_0. */
const expandQ50: ExpandBlock = (bytes, at, output, to) => {
  const d = readFloat16(bytes, at);
  for (let i = 0; i < HALF; i += 1) {
    const pair = bytes[at + 6 + i]!;
    output[to + i] = ((pair & 15) + 16 * bitOf(bytes, at + 2, i) - 16) * d;
    output[to + HALF + i] = ((pair >> 4) + 16 * bitOf(bytes, at + 2, HALF + i) - 16) * d;
  }
};

/** d, m, then as Q5_0. */
const expandQ51: ExpandBlock = (bytes, at, output, to) => {
  const d = readFloat16(bytes, at);
  const m = readFloat16(bytes, at + 2);
  for (let i = 0; i < HALF; i += 1) {
    const pair = bytes[at + 8 + i]!;
    output[to + i] = ((pair & 15) + 16 * bitOf(bytes, at + 4, i)) * d + m;
    output[to + HALF + i] = ((pair >> 4) + 16 * bitOf(bytes, at + 4, HALF + i)) * d + m;
  }
};

function bitOf(bytes: Uint8Array, at: number, index: number): number {
  return (bytes[at + (index >> 3)]! >> (index & 7)) & 1;
}

/** d, 32 signed bytes. */
const expandQ80: ExpandBlock = (bytes, at, output, to) => {
  const d = readFloat16(bytes, at);
  for (let i = 0; i < 32; i += 1) output[to + i] = ((bytes[at + 2 + i]! << 24) >> 24) * d;
};

/** d, m, 8 pairs of 6-bit scale and minimum, one for each 32 elements, then 4-bit numbers: 32 low halves, 32 high halves, 4 times. */
const expandQ4K: ExpandBlock = (bytes, at, output, to) => {
  const numbers = at + 16;
  for (let group = 0; group < 8; group += 1) {
    const { scale, minimum } = scaleOfGroup(bytes, at, group);
    const shift = 4 * (group & 1);
    for (let i = 0; i < 32; i += 1) {
      const low = (bytes[numbers + 32 * (group >> 1) + i]! >> shift) & 15;
      output[to + 32 * group + i] = scale * low - minimum;
    }
  }
};

/** As Q4_K, with the fifth bits between scales and numbers: bit g of byte i belongs to element i of group g. */
const expandQ5K: ExpandBlock = (bytes, at, output, to) => {
  const fifthBits = at + 16;
  const numbers = at + 48;
  for (let group = 0; group < 8; group += 1) {
    const { scale, minimum } = scaleOfGroup(bytes, at, group);
    const shift = 4 * (group & 1);
    for (let i = 0; i < 32; i += 1) {
      const low = (bytes[numbers + 32 * (group >> 1) + i]! >> shift) & 15;
      const high = (bytes[fifthBits + i]! >> group) & 1;
      output[to + 32 * group + i] = scale * (low + 16 * high) - minimum;
    }
  }
};

/** Scale and minimum of 32 elements. Of 12 bytes, the first 4 and the next 4 hold groups 0 to 3 in 6 bits each; their upper 2 bits and the last 4 bytes hold the others. */
export function scaleOfGroup(bytes: Uint8Array, at: number, group: number): { scale: number; minimum: number } {
  const d = readFloat16(bytes, at);
  const m = readFloat16(bytes, at + 2);
  const scales = at + 4;
  if (group < 4) return { scale: d * (bytes[scales + group]! & 63), minimum: m * (bytes[scales + 4 + group]! & 63) };
  const low = bytes[scales + 4 + group]!;
  return {
    scale: d * ((low & 15) | ((bytes[scales + group - 4]! >> 6) << 4)),
    minimum: m * ((low >> 4) | ((bytes[scales + group]! >> 6) << 4)),
  };
}

/** 128 bytes of low 4 bits, 64 of high 2 bits, 16 signed scales (one for each 16 elements), d. Twice 128 elements, 4 rows of 32. */
const expandQ6K: ExpandBlock = (bytes, at, output, to) => {
  const d = readFloat16(bytes, at + 208);
  for (let row = 0; row < 8; row += 1) {
    const half = row >> 2;
    const inHalf = row & 3;
    const lowBits = at + 64 * half + 32 * (inHalf & 1);
    const highBits = at + 128 + 32 * half;
    const lowShift = 4 * (inHalf >> 1);
    const highShift = 2 * inHalf;
    for (let i = 0; i < 32; i += 1) {
      const low = (bytes[lowBits + i]! >> lowShift) & 15;
      const high = (bytes[highBits + i]! >> highShift) & 3;
      const scale = d * ((bytes[at + 192 + 2 * row + (i >> 4)]! << 24) >> 24);
      output[to + 32 * row + i] = scale * (low + 16 * high - 32);
    }
  }
};

const EXPAND: Readonly<Record<BlockType, ExpandBlock>> = {
  Q4_0: expandQ40,
  Q4_1: expandQ41,
  Q5_0: expandQ50,
  Q5_1: expandQ51,
  Q8_0: expandQ80,
  Q4_K: expandQ4K,
  Q5_K: expandQ5K,
  Q6_K: expandQ6K,
};
