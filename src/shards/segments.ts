/**
 * Flattens a weight's source (concat and take, nested, along any axes) into boxes that are copied as they are:
 * a WeightSource goes in, its shape and a short list of segments come out. Joining and picking along an axis only ever moves
 * and cuts boxes, so no element is looked at here.
 */
import { BLOCK_LAYOUTS, DATA_TYPE_BYTES, type Run, type WeightSource } from "../model/graph.ts";

/** A source that holds bytes itself. */
export type LeafSource = Extract<WeightSource, { kind: "file" | "blocks" | "inline" }>;

/** What is stored as one: a block of elements, or an element. */
export interface StoredUnit {
  readonly elements: number;
  readonly bytes: number;
}

export function unitOf(leaf: LeafSource): StoredUnit {
  return leaf.kind === "blocks"
    ? BLOCK_LAYOUTS[leaf.blockType]
    : { elements: 1, bytes: DATA_TYPE_BYTES[leaf.dataType] };
}

/** A box of `leaf` and the place where it lies in the result; all three lists have one entry per axis. */
export interface Segment {
  readonly leaf: LeafSource;
  /** First index in the leaf. */
  readonly begin: readonly number[];
  /** First index in the result. */
  readonly destination: readonly number[];
  readonly size: readonly number[];
}

/** What a source evaluates to. */
export interface Layout {
  readonly shape: readonly number[];
  readonly segments: readonly Segment[];
}

/** The shape of a source and the segments that fill it; cost: one box per leaf and run, whatever the sizes. */
export function layOut(source: WeightSource): Layout {
  switch (source.kind) {
    case "file":
    case "blocks":
    case "inline":
      return layOutLeaf(source);
    case "concat":
      return join(source.parts.map(layOut), source.axis);
    case "take":
      return take(layOut(source.of), source.axis, source.runs);
  }
}

function layOutLeaf(leaf: LeafSource): Layout {
  const origin = leaf.shape.map(() => 0);
  const segment = { leaf, begin: origin, destination: origin, size: leaf.shape };
  return { shape: leaf.shape, segments: leaf.shape.includes(0) ? [] : [segment] };
}

/** Parts one after the other: each part's boxes move up by the lengths of the parts before it. */
function join(parts: readonly Layout[], axis: number): Layout {
  const segments: Segment[] = [];
  let length = 0;
  for (const part of parts) {
    for (const segment of part.segments) segments.push(moved(segment, axis, length));
    length += part.shape[axis]!;
  }
  return { shape: parts[0]!.shape.with(axis, length), segments };
}

/** Runs one after the other: each box is cut to the run, then moved from where the run begins to where it goes. */
function take(whole: Layout, axis: number, runs: readonly Run[]): Layout {
  const segments: Segment[] = [];
  let length = 0;
  for (const run of mergeAdjacent(runs)) {
    for (const segment of whole.segments) {
      const part = cut(segment, axis, run.begin, run.end);
      if (part !== undefined) segments.push(moved(part, axis, length - run.begin));
    }
    length += run.end - run.begin;
  }
  return { shape: whole.shape.with(axis, length), segments };
}

/** [0, 8) then [8, 16) is [0, 16): fewer boxes, and a whole range can be mapped. */
function mergeAdjacent(runs: readonly Run[]): Run[] {
  const merged: Run[] = [];
  for (const run of runs) {
    const last = merged.at(-1);
    if (last?.end === run.begin) {
      merged[merged.length - 1] = { begin: last.begin, end: run.end };
    } else {
      merged.push(run);
    }
  }
  return merged;
}

function moved(segment: Segment, axis: number, by: number): Segment {
  return { ...segment, destination: segment.destination.with(axis, segment.destination[axis]! + by) };
}

/** The part of a box inside [begin, end) of the result's axis; undefined when there is none. */
function cut(segment: Segment, axis: number, begin: number, end: number): Segment | undefined {
  const first = segment.destination[axis]!;
  const from = Math.max(first, begin);
  const to = Math.min(first + segment.size[axis]!, end);
  if (from >= to) return undefined;
  return {
    leaf: segment.leaf,
    begin: segment.begin.with(axis, segment.begin[axis]! + from - first),
    destination: segment.destination.with(axis, from),
    size: segment.size.with(axis, to - from),
  };
}
