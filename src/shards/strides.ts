/**
 * Turns a segment (a box of any number of axes) into rows: how many elements lie side by side both in the source and in
 * the result, and where each such row begins. Copying is then one loop over rows, whatever the axes were.
 */
import type { Segment } from "./segments.ts";

/** Equally long rows; positions count elements from the begin of the leaf and of the result. */
export interface Rows {
  /** Elements per row. */
  readonly length: number;
  /** Sizes of the axes around a row, outermost first; empty: a single row. */
  readonly outer: readonly number[];
  readonly sourceStart: number;
  readonly sourceStrides: readonly number[];
  readonly destinationStart: number;
  readonly destinationStrides: readonly number[];
}

/** The longest rows of `segment` in a result of `shape`: trailing axes merge as long as they are whole on both sides. */
export function rowsOf(segment: Segment, shape: readonly number[]): Rows {
  const { leaf, size } = segment;
  const sourceStrides = stridesOf(leaf.shape);
  const destinationStrides = stridesOf(shape);
  let axis = size.length;
  let length = 1;
  while (axis > 0) {
    axis -= 1;
    length *= size[axis]!;
    if (size[axis] !== leaf.shape[axis] || size[axis] !== shape[axis]) break;
  }
  return {
    length,
    outer: size.slice(0, axis),
    sourceStart: position(segment.begin, sourceStrides),
    sourceStrides: sourceStrides.slice(0, axis),
    destinationStart: position(segment.destination, destinationStrides),
    destinationStrides: destinationStrides.slice(0, axis),
  };
}

/** Calls `visit` with the begin of every row, in the source's order. */
export function forEachRow(rows: Rows, visit: (source: number, destination: number) => void): void {
  const descend = (axis: number, source: number, destination: number): void => {
    if (axis === rows.outer.length) {
      visit(source, destination);
      return;
    }
    for (let i = 0; i < rows.outer[axis]!; i += 1) {
      descend(axis + 1, source + i * rows.sourceStrides[axis]!, destination + i * rows.destinationStrides[axis]!);
    }
  };
  descend(0, rows.sourceStart, rows.destinationStart);
}

/** One past the last element of the leaf that the rows touch. */
export function sourceEnd(rows: Rows): number {
  return rows.outer.reduce(
    (end, size, axis) => end + (size - 1) * rows.sourceStrides[axis]!,
    rows.sourceStart + rows.length,
  );
}

/** Elements from one index to the next, per axis, of a dense row-major tensor. */
function stridesOf(shape: readonly number[]): number[] {
  const strides = shape.map(() => 1);
  for (let axis = shape.length - 2; axis >= 0; axis -= 1) strides[axis] = strides[axis + 1]! * shape[axis + 1]!;
  return strides;
}

function position(index: readonly number[], strides: readonly number[]): number {
  return index.reduce((sum, i, axis) => sum + i * strides[axis]!, 0);
}
