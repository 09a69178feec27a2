/** Writes GGUF files: whole ones from metadata and tensors, and broken ones from numbers given as they are. */
import { writeFileSync } from "node:fs";
import { float16Value, nearestFloat16 } from "../../src/shards/convert.ts";

/** Value types by the format's numbers. */
export const GGUF_TYPES = { uint32: 4, float32: 6, boolean: 7, text: 8, array: 9, uint64: 10 } as const;

/** A whole number is a uint32, another one a float32. */
export type GgufValue = number | bigint | boolean | string | readonly (number | string)[];

export interface GgufTensorToWrite {
  readonly name: string;
  /** Outermost axis first. */
  readonly shape: readonly number[];
  /** The format's number: 0 is F32. */
  readonly type: number;
  readonly bytes: Uint8Array;
  /** Where the file says that the data begins, instead of where it does. */
  readonly claimedOffset?: number;
}

export interface GgufToWrite {
  /** Pairs where a key comes twice. */
  readonly metadata?: Readonly<Record<string, GgufValue>> | readonly (readonly [string, GgufValue])[];
  readonly tensors?: readonly GgufTensorToWrite[];
  readonly magic?: string;
  readonly version?: number;
  readonly claimedTensors?: number;
  readonly claimedEntries?: number;
  /** Bytes of the file that are written. */
  readonly cutAt?: number;
}

const ALIGNMENT = 32;

export function writeGguf(file: string, options: GgufToWrite): void {
  const { metadata = {}, tensors = [], magic = "GGUF", version = 3, cutAt } = options;
  const entries = (Array.isArray(metadata) ? metadata : Object.entries(metadata)) as [string, GgufValue][];
  const header: Buffer[] = [
    Buffer.from(magic),
    uint32(version),
    uint64(options.claimedTensors ?? tensors.length),
    uint64(options.claimedEntries ?? entries.length),
    ...entries.flatMap(([key, value]) => [text(key), encodeValue(value)]),
  ];
  const data: Buffer[] = [];
  let offset = 0;
  for (const { name, shape, type, bytes, claimedOffset = offset } of tensors) {
    header.push(
      text(name),
      uint32(shape.length),
      ...shape.toReversed().map(uint64),
      uint32(type),
      uint64(claimedOffset),
    );
    const padded = Buffer.alloc(Math.ceil(bytes.length / ALIGNMENT) * ALIGNMENT);
    padded.set(bytes);
    data.push(padded);
    offset += padded.length;
  }
  const headerBytes = Buffer.concat(header);
  const padding = Buffer.alloc((ALIGNMENT - (headerBytes.length % ALIGNMENT)) % ALIGNMENT);
  writeFileSync(file, Buffer.concat([headerBytes, padding, ...data]).subarray(0, cutAt));
}

/** Values as an F32 tensor. */
export function float32Tensor(name: string, shape: readonly number[], values: Float32Array): GgufTensorToWrite {
  return { name, shape, type: 0, bytes: new Uint8Array(values.buffer, values.byteOffset, values.byteLength) };
}

/** Types of blocks that encodeBlocks writes: the format's number, and how many values each side of 0 a scale has. */
export const ENCODED_BLOCKS = { Q4_0: { type: 2, most: 7 }, Q8_0: { type: 8, most: 127 } } as const;

/** An F32 tensor in blocks of 32 along its last axis, each with one scale. */
export function encodeBlocks(tensor: GgufTensorToWrite, blockType: keyof typeof ENCODED_BLOCKS): GgufTensorToWrite {
  const { type, most } = ENCODED_BLOCKS[blockType];
  const values = new Float32Array(tensor.bytes.slice().buffer);
  const blocks: Buffer[] = [];
  for (let at = 0; at < values.length; at += 32) {
    const block = values.subarray(at, at + 32);
    const half = nearestFloat16(block.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0) / most);
    const scale = float16Value(half) || 1;
    const steps = Array.from(block, (value) => Math.max(-most, Math.min(most, Math.round(value / scale))));
    const bytes =
      blockType === "Q8_0" ? steps : steps.slice(0, 16).map((low, i) => (low + 8) | ((steps[i + 16]! + 8) << 4));
    blocks.push(Buffer.from([half & 255, half >> 8, ...bytes.map((byte) => byte & 255)]));
  }
  return { ...tensor, type, bytes: Buffer.concat(blocks) };
}

function encodeValue(value: GgufValue): Buffer {
  if (typeof value !== "object") return Buffer.concat([uint32(typeOf(value)), encodeScalar(value)]);
  const type = typeOf(value[0] ?? 0);
  return Buffer.concat([uint32(GGUF_TYPES.array), uint32(type), uint64(value.length), ...value.map(encodeScalar)]);
}

function typeOf(value: number | bigint | boolean | string): number {
  if (typeof value === "string") return GGUF_TYPES.text;
  if (typeof value === "boolean") return GGUF_TYPES.boolean;
  if (typeof value === "bigint") return GGUF_TYPES.uint64;
  return Number.isInteger(value) ? GGUF_TYPES.uint32 : GGUF_TYPES.float32;
}

function encodeScalar(value: number | bigint | boolean | string): Buffer {
  if (typeof value === "string") return text(value);
  if (typeof value === "boolean") return Buffer.from([value ? 1 : 0]);
  if (typeof value === "bigint") return uint64(value);
  return Number.isInteger(value) ? uint32(value) : Buffer.from(Float32Array.of(value).buffer);
}

function text(value: string): Buffer {
  return Buffer.concat([uint64(Buffer.byteLength(value)), Buffer.from(value)]);
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function uint64(value: number | bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}
