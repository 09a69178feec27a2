import { expect, test } from "@jest/globals";
import type { WeightSource } from "../../../src/model/graph.ts";
import { layOutHeads, padHeads } from "../../../src/model/head-padding.ts";

const source: WeightSource = { kind: "file", file: "f", offset: 0, dataType: "float32", shape: [12, 5] };

test.each([
  [8, false, 8],
  [8, true, 16],
  [12, false, 16],
  [16, true, 16],
  [24, true, 32],
  [1, false, 8],
])("heads of %i (rotary %p) are laid out as %i", (headDim, rotary, paddedHeadDim) => {
  expect(layOutHeads(headDim, rotary)).toEqual({ headDim, paddedHeadDim, rotary });
});

test("heads that the kernel takes stay as they are", () => {
  expect(padHeads(source, 0, 3, layOutHeads(16, true))).toBe(source);
});

test("plain heads are padded at their end", () => {
  expect(padHeads(source, 0, 2, layOutHeads(6, false))).toEqual({
    kind: "take",
    of: source,
    axis: 0,
    runs: [{ begin: 0, end: 6 }, { zeros: 2 }, { begin: 6, end: 12 }, { zeros: 2 }],
  });
});

test("rotary heads are padded half by half", () => {
  expect(padHeads(source, 1, 2, layOutHeads(6, true))).toEqual({
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
