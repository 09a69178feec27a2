/** Writes safetensors files: whole ones from values, and broken ones from a header and bytes given as they are. */
import { writeFileSync } from "node:fs";

/** A data type that checkpoints store. */
export type StoredDataType = "F32" | "F16" | "BF16";

/** One tensor to write. */
export interface TensorToWrite {
  readonly name: string;
  readonly shape: readonly number[];
  readonly values: Float32Array;
}

/** Writes tensors one after the other. Values must be exact in the data type (see roundToEightBits). */
export function writeSafetensors(file: string, tensors: readonly TensorToWrite[], dtype: StoredDataType = "F32"): void {
  const header: Record<string, unknown> = { __metadata__: { format: "pt" } };
  const parts: Uint8Array[] = [];
  let end = 0;
  for (const { name, shape, values } of tensors) {
    const bytes = encodeValues(values, dtype);
    header[name] = { dtype, shape, data_offsets: [end, end + bytes.byteLength] };
    parts.push(bytes);
    end += bytes.byteLength;
  }
  writeRawSafetensors(file, JSON.stringify(header), Buffer.concat(parts));
}

/** Writes any header text and any data. @param claimedLength what the file says of its header's length */
export function writeRawSafetensors(file: string, header: string, data: Uint8Array, claimedLength?: bigint): void {
  const text = Buffer.from(header);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(claimedLength ?? BigInt(text.length));
  writeFileSync(file, Buffer.concat([length, text, data]));
}

/** Keeps 8 significant bits, and nothing below float16's normal range: the same value in F32, F16 and BF16. */
export function roundToEightBits(value: number): number {
  if (Math.abs(value) < 2 ** -14) return 0;
  const unit = 2 ** (Math.floor(Math.log2(Math.abs(value))) - 7);
  return Math.round(value / unit) * unit;
}

function encodeValues(values: Float32Array, dtype: StoredDataType): Uint8Array {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  switch (dtype) {
    case "F32":
      return new Uint8Array(bits.buffer, bits.byteOffset, bits.byteLength);
    case "BF16":
      return new Uint8Array(Uint16Array.from(bits, (word) => word >>> 16).buffer);
    case "F16":
      // The exponent's bias is 127 in float32, 15 in float16; the fraction keeps its upper 10 of 23 bits.
      return new Uint8Array(
        Uint16Array.from(bits, (word) =>
          word << 1 === 0 ? word >>> 16 : ((word >>> 16) & 0x8000) | (((word >>> 13) & 0x3ffff) - (112 << 10)),
        ).buffer,
      );
  }
}
