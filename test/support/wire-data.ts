/** Integers from 0 to 255 in the bytes of every element type: all of them hold these exactly. */
import type { WireDataType } from "../../src/collective/native.ts";

export const WIRE_DATA_TYPES: readonly WireDataType[] = ["float32", "float16", "bfloat16", "int32", "int64", "uint8"];

const INTEGERS = Array.from({ length: 256 }, (_, value) => value);

/** IEEE binary16: 5 bits of exponent, 10 of fraction. */
const FLOAT16_BITS = Uint16Array.from(INTEGERS, (value) => {
  if (value === 0) return 0;
  const exponent = Math.floor(Math.log2(value));
  return ((exponent + 15) << 10) | ((value / 2 ** exponent - 1) * 1024);
});

/** The upper half of a float32. */
const BFLOAT16_BITS = Uint16Array.from(
  new Uint32Array(Float32Array.from(INTEGERS).buffer),
  (float32Bits) => float32Bits >>> 16,
);

function bytesOf(array: ArrayBufferView): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

/** The values as they lie in memory. */
export function encode(dataType: WireDataType, values: readonly number[]): Uint8Array {
  switch (dataType) {
    case "float32":
      return bytesOf(Float32Array.from(values));
    case "float16":
      return bytesOf(Uint16Array.from(values, (value) => FLOAT16_BITS[value]!));
    case "bfloat16":
      return bytesOf(Uint16Array.from(values, (value) => BFLOAT16_BITS[value]!));
    case "int32":
      return bytesOf(Int32Array.from(values));
    case "int64":
      return bytesOf(BigInt64Array.from(values, BigInt));
    case "uint8":
      return Uint8Array.from(values);
  }
}
