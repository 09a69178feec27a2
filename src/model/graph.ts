/**
 * The intermediate graph: one rank-less model as ONNX nodes, values and weights.
 * Front ends (one small file per family) make it, partition/ cuts it, execute/ runs it.
 * Nothing here knows ranks, and weights are descriptions of bytes, not the bytes.
 */

/** Element types that weights and values may have. */
export type DataType = "float32" | "float16" | "bfloat16" | "int64" | "int32" | "int8" | "uint8" | "bool";

/** Bytes of one element. */
export const DATA_TYPE_BYTES: Readonly<Record<DataType, number>> = {
  float32: 4,
  float16: 2,
  bfloat16: 2,
  int64: 8,
  int32: 4,
  int8: 1,
  uint8: 1,
  bool: 1,
};

/** Types in which neighbours on the last axis share a scale, with the names that GGUF files give them. */
export type BlockType = "Q4_0" | "Q4_1" | "Q5_0" | "Q5_1" | "Q8_0" | "Q4_K" | "Q5_K" | "Q6_K";

/** How many elements one block holds, and in how many bytes. */
export const BLOCK_LAYOUTS: Readonly<Record<BlockType, { readonly elements: number; readonly bytes: number }>> = {
  Q4_0: { elements: 32, bytes: 18 },
  Q4_1: { elements: 32, bytes: 20 },
  Q5_0: { elements: 32, bytes: 22 },
  Q5_1: { elements: 32, bytes: 24 },
  Q8_0: { elements: 32, bytes: 34 },
  Q4_K: { elements: 256, bytes: 144 },
  Q5_K: { elements: 256, bytes: 176 },
  Q6_K: { elements: 256, bytes: 210 },
};

/** A size, or the letter of one that only a step knows: "B" batch, "S" new tokens, "M" positions with logits, "T" cache length. */
export type Dimension = number | string;

/** A graph input or output. */
export interface GraphValue {
  readonly name: string;
  readonly dataType: DataType;
  readonly shape: readonly Dimension[];
}

export type Attribute =
  | { readonly kind: "int"; readonly value: number }
  | { readonly kind: "ints"; readonly value: readonly number[] }
  | { readonly kind: "float"; readonly value: number }
  | { readonly kind: "string"; readonly value: string };

/** One ONNX node; "" as an input is an optional one left out. */
export interface GraphNode {
  readonly name: string;
  readonly opType: string;
  readonly domain: "" | "com.microsoft" | "shardrun";
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: Readonly<Record<string, Attribute>>;
}

/** A stretch [begin, end) of an axis. */
export interface Run {
  readonly begin: number;
  readonly end: number;
}

/** Where a weight's bytes come from. Evaluated by shards/, which may be asked for a part of it only. */
export type WeightSource =
  | {
      readonly kind: "file";
      readonly file: string;
      /** Absolute byte offset in the file. */
      readonly offset: number;
      /** As stored; converted to the weight's own dataType when read. */
      readonly dataType: DataType;
      readonly shape: readonly number[];
      /** Added to every element when read, in float32: norm weights may be stored as their difference from 1. */
      readonly plus?: number;
    }
  /** Quantised in blocks along the last axis, which is a multiple of the block; dequantised to float32 when read. */
  | {
      readonly kind: "blocks";
      readonly file: string;
      /** Absolute byte offset of the first block. */
      readonly offset: number;
      readonly blockType: BlockType;
      /** In elements. */
      readonly shape: readonly number[];
    }
  | {
      readonly kind: "inline";
      readonly dataType: DataType;
      readonly shape: readonly number[];
      readonly bytes: Uint8Array;
    }
  /** Parts joined along `axis` (q|k|v in one product). */
  | { readonly kind: "concat"; readonly axis: number; readonly parts: readonly WeightSource[] }
  /** The runs of `of` along `axis`, in this order (padding of head_dim, permutations). */
  | { readonly kind: "take"; readonly of: WeightSource; readonly axis: number; readonly runs: readonly Run[] };

/**
 * How a matrix is brought into the packed form of native/kernels: as it is (32 bits), or quantised. Scales are those of the whole matrix,
 * whatever part is packed.
 */
export interface Packing {
  readonly bits: 32 | 8 | 4;
  /** Of 4 bits: inputs that share a scale. 8 bits have one scale per output. */
  readonly blockSize: number;
  /** Of 4 bits: outputs that the source holds in blocks of 4 bits keep them (stored-blocks.ts); others are quantised anew. */
  readonly keepsBlocks?: boolean;
  /** Of 4 bits: a block has a minimum beside its scale, as some of the kept ones need; else it is -8 times the scale. */
  readonly hasMinima?: boolean;
  /** Whether the source is [in, out]; else [out, in]. */
  readonly isTransposed: boolean;
  /** Which of the source's inputs are packed, in this order. */
  readonly inputs: readonly { readonly begin: number; readonly end: number }[];
}

/** A constant of the graph. `dataType` and `shape` are what the graph sees (whole model, no rank). */
export interface Weight {
  readonly name: string;
  readonly dataType: DataType;
  /** Of a packed matrix: [out, in] in numbers; kernels see its bytes. */
  readonly shape: readonly number[];
  readonly source: WeightSource;
  /** Set when the bytes are not the source's but its packed form; dataType is "uint8" then. */
  readonly packing?: Packing;
}

/** A whole model, or one rank's shard of it. Nodes are in topological order. */
export interface Graph {
  readonly name: string;
  readonly inputs: readonly GraphValue[];
  readonly outputs: readonly GraphValue[];
  readonly nodes: readonly GraphNode[];
  readonly weights: ReadonlyMap<string, Weight>;
}
