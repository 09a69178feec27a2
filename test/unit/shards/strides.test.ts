import { describe, expect, test } from "@jest/globals";
import type { Segment } from "../../../src/shards/segments.ts";
import { forEachRow, rowsOf, sourceEnd } from "../../../src/shards/strides.ts";

const segment = (leafShape: number[], begin: number[], destination: number[], size: number[]): Segment => ({
  leaf: { kind: "file", file: "a", offset: 0, dataType: "float32", shape: leafShape },
  begin,
  destination,
  size,
});

function visits(box: Segment, shape: number[]): { length: number; rows: [number, number][]; end: number } {
  const rows = rowsOf(box, shape);
  const visited: [number, number][] = [];
  forEachRow(rows, (source, destination) => visited.push([source, destination]));
  return { length: rows.length, rows: visited, end: sourceEnd(rows) };
}

describe("rows", () => {
  test("whole rows of a matrix are one range (column-parallel)", () => {
    expect(visits(segment([8, 5], [4, 0], [0, 0], [2, 5]), [2, 5])).toEqual({ length: 10, rows: [[20, 0]], end: 30 });
  });

  test("a part of every row is a row each (row-parallel)", () => {
    expect(visits(segment([3, 8], [0, 4], [0, 0], [3, 2]), [3, 2])).toEqual({
      length: 2,
      rows: [
        [4, 0],
        [12, 2],
        [20, 4],
      ],
      end: 22,
    });
  });

  test("whole rows that lie apart in the result stay apart", () => {
    expect(visits(segment([2, 3], [0, 0], [0, 1], [2, 3]), [2, 5])).toEqual({
      length: 3,
      rows: [
        [0, 1],
        [3, 6],
      ],
      end: 6,
    });
  });

  test("inner axes merge as far as they are whole: [2, 2, 3 of 4] of blocks", () => {
    expect(visits(segment([2, 4, 2, 2], [0, 1, 0, 0], [0, 0, 0, 0], [2, 3, 2, 2]), [2, 3, 2, 2])).toEqual({
      length: 12,
      rows: [
        [4, 0],
        [20, 12],
      ],
      end: 32,
    });
  });

  test("a scalar is one row of one element", () => {
    expect(visits(segment([], [], [], []), [])).toEqual({ length: 1, rows: [[0, 0]], end: 1 });
  });
});
