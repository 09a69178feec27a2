/**
 * Widens stored floats to float32 while copying: bytes of float16, bfloat16 or float32 go in, float32 comes out, bit for bit
 * the same value. Its own file because these loops decide how fast a checkpoint loads.
 */
import { DATA_TYPE_BYTES, type DataType } from "../model/graph.ts";

/** Copies `count` elements; positions are in elements of the respective type. */
export type CopyElements = (sourceStart: number, destinationStart: number, count: number) => void;

/** Elements that are converted at a time when the source has to be realigned. */
const BLOCK_ELEMENTS = 32768;

/** Whether `from` can be stored as `to` by copyInto. */
export function isConvertible(from: DataType, to: DataType): boolean {
  return from === to || (to === "float32" && (from === "float16" || from === "bfloat16"));
}

/** A copier from `source` (bytes of `from`) into `destination` (bytes of `to`, aligned to its element). */
export function copyInto(source: Uint8Array, from: DataType, destination: Uint8Array, to: DataType): CopyElements {
  if (from === to) return copyBytes(source, destination, DATA_TYPE_BYTES[to]);
  const widen = from === "bfloat16" ? widenBfloat16 : widenFloat16;
  const output = new Uint32Array(destination.buffer, destination.byteOffset, destination.byteLength / 4);
  return source.byteOffset % 2 === 0 ? widenAligned(source, output, widen) : widenRealigned(source, output, widen);
}

type Widen = (input: Uint16Array, inputStart: number, output: Uint32Array, outputStart: number, count: number) => void;

function copyBytes(source: Uint8Array, destination: Uint8Array, bytes: number): CopyElements {
  return (sourceStart, destinationStart, count) => {
    destination.set(source.subarray(sourceStart * bytes, (sourceStart + count) * bytes), destinationStart * bytes);
  };
}

function widenAligned(source: Uint8Array, output: Uint32Array, widen: Widen): CopyElements {
  const input = new Uint16Array(source.buffer, source.byteOffset, source.byteLength / 2);
  return (sourceStart, destinationStart, count) => widen(input, sourceStart, output, destinationStart, count);
}

/** A tensor that begins at an odd byte passes through an aligned block. */
function widenRealigned(source: Uint8Array, output: Uint32Array, widen: Widen): CopyElements {
  const block = new Uint16Array(BLOCK_ELEMENTS);
  const blockBytes = new Uint8Array(block.buffer);
  return (sourceStart, destinationStart, count) => {
    for (let done = 0; done < count; done += BLOCK_ELEMENTS) {
      const length = Math.min(BLOCK_ELEMENTS, count - done);
      blockBytes.set(source.subarray(2 * (sourceStart + done), 2 * (sourceStart + done + length)));
      widen(block, 0, output, destinationStart + done, length);
    }
  };
}

/** bfloat16 is the upper half of a float32. */
const widenBfloat16: Widen = (input, inputStart, output, outputStart, count) => {
  for (let i = 0; i < count; i += 1) output[outputStart + i] = input[inputStart + i]! << 16;
};

const widenFloat16: Widen = (input, inputStart, output, outputStart, count) => {
  const table = float16Bits();
  for (let i = 0; i < count; i += 1) output[outputStart + i] = table[input[inputStart + i]!]!;
};

/** The number that float16 bits stand for. */
export function float16Value(bits: number): number {
  return (float16Values ??= new Float32Array(float16Bits().buffer))[bits]!;
}

let float16Values: Float32Array | undefined;

/** All 65536 float16 numbers as float32 bits, by their own; 256 KiB, made when the first float16 is read. */
function float16Bits(): Uint32Array<ArrayBuffer> {
  return (float16Table ??= makeFloat16Table());
}

/** The bits of the float16 nearest to a number, ties to even; beyond the largest one infinity. */
export function nearestFloat16(value: number): number {
  float32[0] = value;
  const bits = float32Bits[0]!;
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00; // no number
  // Below the smallest normal number the fraction counts steps of 2^-24: a sum with 0.5 has just these as its last bits.
  if (magnitude < 0x38800000) {
    float32[0] = Math.abs(value) + 0.5;
    return sign | (float32Bits[0]! - 0x3f000000);
  }
  const rounded = (magnitude + 0xfff + ((magnitude >>> 13) & 1) - 0x38000000) >>> 13;
  return sign | Math.min(rounded, 0x7c00);
}

const float32 = new Float32Array(1);
const float32Bits = new Uint32Array(float32.buffer);

let float16Table: Uint32Array<ArrayBuffer> | undefined;

function makeFloat16Table(): Uint32Array<ArrayBuffer> {
  const table = new Uint32Array(65536);
  for (let half = 0; half < 65536; half += 1) table[half] = float16ToFloat32Bits(half);
  return table;
}

/**
 * The float32 bits of one float16 (1 sign, 5 exponent, 10 fraction bits; exponent bias 15 against 127).
 * @see IEEE 754-2019, section 3.4
 */
function float16ToFloat32Bits(half: number): number {
  const sign = (half & 0x8000) << 16;
  const exponent = (half >> 10) & 0x1f;
  let fraction = half & 0x3ff;
  if (exponent === 0x1f) return sign | 0x7f800000 | (fraction << 13);
  if (exponent > 0) return sign | ((exponent + 112) << 23) | (fraction << 13);
  if (fraction === 0) return sign;
  // Subnormal: shift until the leading 1 is where float32 hides it.
  let shifted = 113;
  while ((fraction & 0x400) === 0) {
    fraction <<= 1;
    shifted -= 1;
  }
  return sign | (shifted << 23) | ((fraction & 0x3ff) << 13);
}
