import { expect, test } from "@jest/globals";
import { KeptRows } from "../../../src/engine/kept-rows.ts";

function keep(rows: Record<number, readonly number[]>): KeptRows {
  const kept = new KeptRows();
  for (const [row, tokenIds] of Object.entries(rows)) kept.keep(Number(row), tokenIds);
  return kept;
}

test("the longest common beginning is found, and the last token of a prompt is never part of it", () => {
  const kept = keep({ 0: [1, 2, 3, 4], 2: [1, 2, 9, 9, 9], 5: [7] });
  expect(kept.findPrefix([1, 2, 3, 8])).toEqual({ row: 0, numTokens: 3 });
  expect(kept.findPrefix([1, 2, 9, 9, 9, 9])).toEqual({ row: 2, numTokens: 5 });
  expect(kept.findPrefix([1, 2, 3, 4])).toEqual({ row: 0, numTokens: 3 });
  expect(kept.findPrefix([7])).toBeUndefined();
  expect(kept.findPrefix([8, 1])).toBeUndefined();
  expect(kept.findPrefix([])).toBeUndefined();
});

test("what was dropped is not found", () => {
  const kept = keep({ 0: [1, 2, 3], 1: [1, 2] });
  kept.drop(0);
  expect(kept.tokensOf(0)).toEqual([]);
  expect(kept.findPrefix([1, 2, 3, 4])).toEqual({ row: 1, numTokens: 2 });
  kept.clear();
  expect(kept.findPrefix([1, 2, 3, 4])).toBeUndefined();
});

test("room is a row that holds nothing, else the one that was used longest ago", () => {
  const kept = keep({ 1: [1, 2], 2: [3, 4], 4: [5, 6] });
  expect(kept.findRoom(1, 5)).toBe(3);
  kept.keep(3, [7, 8]);
  expect(kept.findRoom(1, 5)).toBe(1);
  kept.keep(1, [1, 2, 3]);
  expect(kept.findRoom(1, 5)).toBe(2);
  expect(kept.findRoom(1, 5, 2)).toBe(4);
  expect(kept.findRoom(2, 3, 2)).toBeUndefined();
  expect(kept.findRoom(5, 5)).toBeUndefined();
});

test("an empty sequence is not kept", () => {
  const kept = keep({ 0: [] });
  expect(kept.findRoom(0, 1)).toBe(0);
});
