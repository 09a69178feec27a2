/** What the shard tests share: an evaluation of weight sources element by element, random sources, and a reader of files. */
import { closeSync, openSync, readSync } from "node:fs";
import fc from "fast-check";
import type { Run, WeightSource } from "../../../src/model/graph.ts";
import type { LeafSource } from "../../../src/shards/segments.ts";

/** A dense tensor, row-major. */
export interface Tensor<T> {
  readonly shape: readonly number[];
  readonly values: readonly T[];
}

/** The obvious evaluation: builds every intermediate tensor, one index at a time. */
export function evaluate<T>(source: WeightSource, leafValues: (leaf: LeafSource) => readonly T[]): Tensor<T> {
  switch (source.kind) {
    case "file":
    case "blocks":
    case "inline":
      return { shape: source.shape, values: leafValues(source) };
    case "concat": {
      const parts = source.parts.map((part) => evaluate(part, leafValues));
      const places = parts.flatMap((part) => range(part.shape[source.axis]!).map((i) => ({ part, i })));
      return build(parts[0]!.shape.with(source.axis, places.length), (index) => {
        const { part, i } = places[index[source.axis]!]!;
        return at(part, index.with(source.axis, i));
      });
    }
    case "take": {
      const whole = evaluate(source.of, leafValues);
      const picks = source.runs.flatMap(({ begin, end }) => range(end - begin).map((i) => begin + i));
      return build(whole.shape.with(source.axis, picks.length), (index) =>
        at(whole, index.with(source.axis, picks[index[source.axis]!]!)),
      );
    }
  }
}

/** All indices of a shape, row-major. */
export function indicesOf(shape: readonly number[]): number[][] {
  return shape.reduce<number[][]>(
    (indices, size) => indices.flatMap((index) => range(size).map((i) => [...index, i])),
    [[]],
  );
}

export function flatIndex(index: readonly number[], shape: readonly number[]): number {
  return index.reduce((flat, i, axis) => flat * shape[axis]! + i, 0);
}

/** Random trees of concat and take over leaves that `makeLeaf` makes; 1 to 3 axes, sizes 0 to 5. */
export function sourceOf(makeLeaf: (shape: number[]) => fc.Arbitrary<LeafSource>): fc.Arbitrary<WeightSource> {
  const shape = fc.array(fc.integer({ min: 0, max: 5 }), { minLength: 1, maxLength: 3 });
  return shape.chain((sizes) => sourceOfShape(sizes, 3, makeLeaf));
}

/** A random source that evaluates to exactly this shape. */
function sourceOfShape(
  shape: number[],
  depth: number,
  makeLeaf: (shape: number[]) => fc.Arbitrary<LeafSource>,
): fc.Arbitrary<WeightSource> {
  if (depth === 0) return makeLeaf(shape);
  const axes = fc.integer({ min: 0, max: shape.length - 1 });
  const concat = axes.chain((axis) =>
    fc.array(fc.nat(shape[axis]!), { maxLength: 3 }).chain((cuts) => {
      const borders = [0, ...cuts.sort((a, b) => a - b), shape[axis]!];
      const parts = borders
        .slice(1)
        .map((end, i) => sourceOfShape(shape.with(axis, end - borders[i]!), depth - 1, makeLeaf));
      return fc.tuple(...parts).map((made): WeightSource => ({ kind: "concat", axis, parts: made }));
    }),
  );
  const take = fc.tuple(axes, fc.integer({ min: 1, max: 5 }), fc.array(fc.nat(), { minLength: 30, maxLength: 30 }));
  const taken = take.chain(([axis, innerSize, numbers]) =>
    sourceOfShape(shape.with(axis, innerSize), depth - 1, makeLeaf).map((of): WeightSource => ({
      kind: "take",
      of,
      axis,
      runs: runsOfLength(shape[axis]!, innerSize, numbers),
    })),
  );
  return fc.oneof(makeLeaf(shape), concat, taken);
}

/** Runs over an axis of `size` indices that are `length` long together. */
function runsOfLength(length: number, size: number, numbers: readonly number[]): Run[] {
  const runs: Run[] = [];
  const pick = (below: number) => numbers[(runs.length + below) % numbers.length]! % below;
  for (let left = length; left > 0;) {
    const run = 1 + pick(Math.min(left, size));
    const begin = pick(size - run + 1);
    runs.push({ begin, end: begin + run });
    left -= run;
  }
  return runs;
}

function build<T>(shape: readonly number[], valueAt: (index: number[]) => T): Tensor<T> {
  return { shape, values: indicesOf(shape).map(valueAt) };
}

function at<T>(tensor: Tensor<T>, index: readonly number[]): T {
  return tensor.values[flatIndex(index, tensor.shape)]!;
}

function range(length: number): number[] {
  return Array.from({ length }, (_, i) => i);
}

/** Reads a range of a file; the bytes are aligned as they would be in a mapping. */
export function readFileRange(path: string, offset: number, numBytes: number): Uint8Array {
  const bytes = new Uint8Array(new ArrayBuffer(numBytes + (offset % 8)), offset % 8);
  const file = openSync(path, "r");
  try {
    readSync(file, bytes, 0, numBytes, offset);
  } finally {
    closeSync(file);
  }
  return bytes;
}

/** The value of a float16, by arithmetic instead of bits. */
export function float16Value(half: number): number {
  const sign = half >> 15 === 0 ? 1 : -1;
  const exponent = (half >> 10) & 31;
  const fraction = half & 1023;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15));
}
