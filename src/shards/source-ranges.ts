/**
 * Which bytes of which files the weights of a graph are made of: a rank's graph goes in, ranges per file come out. Nothing is read.
 * A rank that has no copy of the files asks for these bytes and no others.
 */
import type { Graph, Weight, WeightSource } from "../model/graph.ts";
import { joinRanges, type ByteRange } from "./byte-ranges.ts";
import { layOut, unitOf } from "./segments.ts";
import { forEachRow, rowsOf } from "./strides.ts";

/** Ranges by the path of their file. */
export type FileRanges = ReadonlyMap<string, readonly ByteRange[]>;

/**
 * Rows that are closer are read as one: their holes cost less on the wire than rows of their own, and a file system stores
 * pages of this size.
 */
const GAP_BYTES = 4096;

/** The bytes that the weights of all these graphs read. */
export function rangesOfGraphs(graphs: readonly Graph[]): FileRanges {
  const found = new Map<string, ByteRange[]>();
  for (const graph of graphs) for (const weight of graph.weights.values()) addRanges(weight, found);
  return new Map([...found].map(([file, ranges]) => [file, joinRanges(ranges, GAP_BYTES)]));
}

/** The first byte of each file that belongs to a weight; what comes before describes them. */
export function firstWeightBytes(graph: Graph): ReadonlyMap<string, number> {
  const first = new Map<string, number>();
  const visit = (source: WeightSource): void => {
    switch (source.kind) {
      case "file":
      case "blocks":
        first.set(source.file, Math.min(source.offset, first.get(source.file) ?? Infinity));
        return;
      case "inline":
        return;
      case "concat":
        return source.parts.forEach(visit);
      case "take":
        return visit(source.of);
    }
  };
  for (const { source } of graph.weights.values()) visit(source);
  return first;
}

function addRanges(weight: Weight, found: Map<string, ByteRange[]>): void {
  const { shape, segments } = layOut(weight.source);
  for (const segment of segments) {
    const { leaf } = segment;
    if (leaf.kind === "inline") continue;
    const ranges = found.get(leaf.file) ?? [];
    found.set(leaf.file, ranges);
    const rows = rowsOf(segment, shape);
    const { elements, bytes } = unitOf(leaf);
    forEachRow(rows, (source) => {
      ranges.push({
        begin: leaf.offset + Math.floor(source / elements) * bytes,
        end: leaf.offset + Math.ceil((source + rows.length) / elements) * bytes,
      });
    });
  }
}
