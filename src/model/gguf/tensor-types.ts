/** The element types of GGUF files by their numbers, and which of them can be read. */
import { BLOCK_LAYOUTS, type BlockType, type DataType, type WeightSource } from "../graph.ts";

/** @see https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (ggml_type) */
const NAMES: Readonly<Record<number, string>> = {
  0: "F32",
  1: "F16",
  2: "Q4_0",
  3: "Q4_1",
  6: "Q5_0",
  7: "Q5_1",
  8: "Q8_0",
  9: "Q8_1",
  10: "Q2_K",
  11: "Q3_K",
  12: "Q4_K",
  13: "Q5_K",
  14: "Q6_K",
  15: "Q8_K",
  16: "IQ2_XXS",
  17: "IQ2_XS",
  18: "IQ3_XXS",
  19: "IQ1_S",
  20: "IQ4_NL",
  21: "IQ3_S",
  22: "IQ2_S",
  23: "IQ4_XS",
  24: "I8",
  25: "I16",
  26: "I32",
  27: "I64",
  28: "F64",
  29: "IQ1_M",
  30: "BF16",
  34: "TQ1_0",
  35: "TQ2_0",
  39: "MXFP4",
};

const PLAIN_TYPES: Readonly<Record<string, DataType>> = { F32: "float32", F16: "float16", BF16: "bfloat16" };
const PLAIN_BYTES: Readonly<Record<string, number>> = { F32: 4, F16: 2, BF16: 2 };

/** The types that can be read, for people. */
export const READABLE_TYPES: readonly string[] = [...Object.keys(PLAIN_TYPES), ...Object.keys(BLOCK_LAYOUTS)];

/** The name of a type; "type 99" for one that this table does not have. */
export function tensorTypeName(number: number): string {
  return NAMES[number] ?? `type ${number}`;
}

/** How a type that can be read is laid out: so many elements of the last axis in so many bytes. */
export function tensorLayout(type: string): { readonly elements: number; readonly bytes: number } | undefined {
  const plain = PLAIN_BYTES[type];
  return plain === undefined ? BLOCK_LAYOUTS[type as BlockType] : { elements: 1, bytes: plain };
}

/** A stored tensor as a weight source; undefined when its type cannot be read. */
export function tensorSource(
  type: string,
  file: string,
  offset: number,
  shape: readonly number[],
): WeightSource | undefined {
  const dataType = PLAIN_TYPES[type];
  if (dataType !== undefined) return { kind: "file", file, offset, dataType, shape };
  return type in BLOCK_LAYOUTS ? { kind: "blocks", file, offset, blockType: type as BlockType, shape } : undefined;
}
