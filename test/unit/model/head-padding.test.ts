import { expect, test } from "@jest/globals";
import type { WeightSource } from "../../../src/model/graph.ts";
import { layOutHeads, padHeads } from "../../../src/model/head-padding.ts";

const source: WeightSource = { kind: "file", file: "f", offset: 0, dataType: "float32", shape: [12, 5] };

test.each([
  [8, 0, 8],
  [8, 8, 16],
  [12, 0, 16],
  [16, 16, 16],
  [16, 4, 16],
  [24, 24, 32],
  [1, 0, 8],
])("heads of %i of which %i elements are turned are laid out as %i", (headDim, rotaryDim, paddedHeadDim) => {
  expect(layOutHeads(headDim, rotaryDim)).toEqual({ headDim, paddedHeadDim, rotaryDim });
});

test("heads that the kernel takes stay as they are", () => {
  expect(padHeads(source, 0, 3, layOutHeads(16, 16))).toBe(source);
});

test("plain heads are padded at their end", () => {
  expect(padHeads(source, 0, 2, layOutHeads(6, 0))).toEqual({
    kind: "take",
    of: source,
    axis: 0,
    runs: [{ begin: 0, end: 6 }, { zeros: 2 }, { begin: 6, end: 12 }, { zeros: 2 }],
  });
});

test("rotary heads are padded half by half", () => {
  expect(padHeads(source, 1, 2, layOutHeads(6, 6))).toEqual({
    kind: "take",
    of: source,
    axis: 1,
    runs: [
      { begin: 0, end: 3 },
      { zeros: 5 },
      { begin: 3, end: 6 },
      { zeros: 5 },
      { begin: 6, end: 9 },
      { zeros: 5 },
      { begin: 9, end: 12 },
      { zeros: 5 },
    ],
  });
});

test("what is not turned lies behind each half of what is", () => {
  expect(padHeads(source, 0, 1, layOutHeads(12, 8))).toEqual({
    kind: "take",
    of: source,
    axis: 0,
    runs: [
      { begin: 0, end: 4 },
      { begin: 8, end: 10 },
      { zeros: 2 },
      { begin: 4, end: 8 },
      { begin: 10, end: 12 },
      { zeros: 2 },
    ],
  });
  expect(padHeads(source, 0, 1, layOutHeads(16, 8))).toMatchObject({
    runs: [
      { begin: 0, end: 4 },
      { begin: 8, end: 12 },
      { begin: 4, end: 8 },
      { begin: 12, end: 16 },
    ],
  });
});
