import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import type { WeightSource } from "../../../src/model/graph.ts";
import { layOut, type Layout, type LeafSource } from "../../../src/shards/segments.ts";
import { evaluate, flatIndex, indicesOf, sourceOf } from "./support.ts";

const file = (name: string, shape: number[]): LeafSource => ({
  kind: "file",
  file: name,
  offset: 0,
  dataType: "float32",
  shape,
});

describe("layOut", () => {
  test("a whole file is one segment", () => {
    const leaf = file("a", [4, 3]);
    expect(layOut(leaf)).toEqual({
      shape: [4, 3],
      segments: [{ leaf, begin: [0, 0], destination: [0, 0], size: [4, 3] }],
    });
  });

  test("a rank's heads of q|k|v, of which k and v are narrower", () => {
    const [q, k, v] = [file("q", [8, 6]), file("k", [4, 6]), file("v", [4, 6])];
    const packed: WeightSource = { kind: "concat", axis: 0, parts: [q, k, v] };
    const runs = [
      { begin: 4, end: 8 },
      { begin: 10, end: 12 },
      { begin: 14, end: 16 },
    ];
    expect(layOut({ kind: "take", of: packed, axis: 0, runs })).toEqual({
      shape: [8, 6],
      segments: [
        { leaf: q, begin: [4, 0], destination: [0, 0], size: [4, 6] },
        { leaf: k, begin: [2, 0], destination: [4, 0], size: [2, 6] },
        { leaf: v, begin: [2, 0], destination: [6, 0], size: [2, 6] },
      ],
    });
  });

  test("runs that continue each other are one segment", () => {
    const leaf = file("a", [2, 6]);
    const runs = [
      { begin: 0, end: 1 },
      { begin: 1, end: 3 },
      { begin: 4, end: 6 },
    ];
    expect(layOut({ kind: "take", of: leaf, axis: 1, runs })).toEqual({
      shape: [2, 5],
      segments: [
        { leaf, begin: [0, 0], destination: [0, 0], size: [2, 3] },
        { leaf, begin: [0, 4], destination: [0, 3], size: [2, 2] },
      ],
    });
  });

  test("is the obvious evaluation, for every nesting of concat and take", () => {
    const leaf = (shape: number[]) => fc.constant(file("a", shape)).map((source) => ({ ...source }));
    fc.assert(
      fc.property(sourceOf(leaf), (source) => {
        const numbers = new Map<LeafSource, string[]>();
        const numberOf = (of: LeafSource) => {
          if (!numbers.has(of))
            numbers.set(
              of,
              indicesOf(of.shape).map((index) => `${numbers.size}:${index.join()}`),
            );
          return numbers.get(of)!;
        };
        const expected = evaluate(source, numberOf);
        const layout = layOut(source);
        expect(layout.shape).toEqual(expected.shape);
        expect(apply(layout, numberOf)).toEqual(expected.values);
      }),
      { numRuns: 1000 },
    );
  });
});

/** Copies box by box, and fails when two boxes meet. */
function apply(layout: Layout, valuesOf: (leaf: LeafSource) => string[]): string[] {
  const result = indicesOf(layout.shape).map(() => "0");
  for (const { leaf, begin, destination, size } of layout.segments) {
    expect(size.every((length) => length > 0)).toBe(true);
    for (const index of indicesOf(size)) {
      const to = flatIndex(
        index.map((i, axis) => i + destination[axis]!),
        layout.shape,
      );
      expect(result[to]).toBe("0");
      result[to] =
        valuesOf(leaf)[
          flatIndex(
            index.map((i, axis) => i + begin[axis]!),
            leaf.shape,
          )
        ]!;
    }
  }
  return result;
}
