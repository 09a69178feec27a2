/**
 * Small integer constants (a new shape, sizes of a Split): written by front ends and for one rank's graph, read for rules.
 * A file of its own because weights are otherwise never looked into.
 */
import type { Weight } from "./graph.ts";

/** The numbers of an int64 or int32 constant whose bytes are in the graph; undefined for any other weight. */
export function readIntegers(weight: Weight | undefined): readonly number[] | undefined {
  if (weight?.source.kind !== "inline") return undefined;
  const { bytes, dataType } = weight.source;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (dataType === "int64") {
    return Array.from({ length: bytes.byteLength / 8 }, (_, i) => Number(view.getBigInt64(i * 8, true)));
  }
  if (dataType === "int32") return Array.from({ length: bytes.byteLength / 4 }, (_, i) => view.getInt32(i * 4, true));
  return undefined;
}

/** A one-dimensional int64 constant. */
export function integerConstant(name: string, values: readonly number[]): Weight {
  const bytes = new Uint8Array(BigInt64Array.from(values, BigInt).buffer);
  const shape = [values.length];
  return { name, dataType: "int64", shape, source: { kind: "inline", dataType: "int64", shape, bytes } };
}
