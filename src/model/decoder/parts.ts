/** What the builders of a decoder work with, and the pieces that several of them need: products, stacked tensors, norms. */
import type { Checkpoint } from "../checkpoint.ts";
import type { ModelSizes } from "../family.ts";
import type { GraphBuilder } from "../graph-builder.ts";
import type { WeightSource } from "../graph.ts";
import type { DecoderDesign } from "./design.ts";

export interface DecoderParts {
  readonly graph: GraphBuilder;
  readonly checkpoint: Checkpoint;
  readonly design: DecoderDesign;
  readonly sizes: ModelSizes;
  /** "model." unless the checkpoint was saved without it. */
  readonly prefix: string;
}

interface Product {
  /** Of the node. */
  readonly name: string;
  /** Of the weights in the graph, without ".weight" and ".bias". */
  readonly stored: string;
  /** [out, in] */
  readonly sizes: readonly [number, number];
  readonly bias: boolean;
  /** Where the matrix and the bias come from; `columns` are the sizes of all axes but the first. */
  readonly source: (kind: "weight" | "bias", columns: readonly number[]) => WeightSource;
}

/** x [B, S, in] times a matrix [out, in], plus a bias if there is one: [B, S, out]. */
export function addProduct({ graph }: DecoderParts, x: string, { name, stored, sizes, bias, source }: Product): string {
  const [outSize, inSize] = sizes;
  const matrix = graph.weight(`${stored}.weight`, sizes, source("weight", [inSize]));
  const shift = bias ? graph.weight(`${stored}.bias`, [outSize], source("bias", [])) : undefined;
  return graph.linear(name, x, matrix, shift);
}

/**
 * The tensors of one module stacked along their first axis, or the one tensor that the checkpoint stores in their place.
 * @param rows how many each of them has
 */
export function stackTensors(
  { checkpoint, design }: DecoderParts,
  module: string,
  packedName: string,
  rows: Readonly<Record<string, number>>,
): Product["source"] {
  return (kind, columns) => {
    const tensor = (name: string, numRows: number): WeightSource =>
      checkpoint.tensor(`${module}.${name}.${kind}`, [numRows, ...columns]);
    const counts = Object.values(rows);
    if (design.storesPacked) {
      return tensor(
        packedName,
        counts.reduce((sum, count) => sum + count, 0),
      );
    }
    return { kind: "concat", axis: 0, parts: Object.entries(rows).map(([name, count]) => tensor(name, count)) };
  };
}

/** A norm's tensor [D] or [H], as what is multiplied with. */
export function normTensor({ checkpoint, design, prefix }: DecoderParts, name: string, size: number): WeightSource {
  const stored = checkpoint.tensor(`${prefix}${name}.weight`, [size]);
  // Where a norm is in blocks, in GGUF files, it is stored as what is multiplied with.
  return design.normsStoreDifference && stored.kind === "file" ? { ...stored, plus: (stored.plus ?? 0) + 1 } : stored;
}
