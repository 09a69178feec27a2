/** Dealing units and heads to ranks. */
import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { dealKeyValueHeads, dealUnits } from "../../../src/partition/deal.ts";
import { countIndices, listIndices } from "../../../src/partition/runs.ts";

const equal = (worldSize: number): number[] => Array.from({ length: worldSize }, () => 1);
const counts = (numUnits: number, rankWeights: readonly number[]): number[] =>
  dealUnits(numUnits, rankWeights).map(countIndices);

describe("dealUnits", () => {
  test.each([
    { numUnits: 172, weights: equal(3), expected: [58, 57, 57] },
    { numUnits: 172, weights: equal(5), expected: [35, 35, 34, 34, 34] },
    { numUnits: 3, weights: equal(4), expected: [1, 1, 1, 0] },
    { numUnits: 0, weights: equal(2), expected: [0, 0] },
    { numUnits: 12, weights: [2, 1], expected: [8, 4] },
    { numUnits: 10, weights: [1, 0, 1], expected: [5, 0, 5] },
    { numUnits: 7, weights: [0.5, 0.25, 0.25], expected: [3, 2, 2] },
  ])("$numUnits units by weights $weights", ({ numUnits, weights, expected }) => {
    expect(counts(numUnits, weights)).toEqual(expected);
  });

  test("every unit is dealt once, in rank order, and no rank is off its share by a unit or more", () => {
    const weights = fc.array(fc.nat(9), { minLength: 1, maxLength: 8 }).filter((list) => list.some((w) => w > 0));
    fc.assert(
      fc.property(fc.nat(200), weights, (numUnits, rankWeights) => {
        const dealt = dealUnits(numUnits, rankWeights);
        expect(dealt.flatMap(listIndices)).toEqual(Array.from({ length: numUnits }, (_, i) => i));
        const total = rankWeights.reduce((sum, weight) => sum + weight, 0);
        dealt.forEach((runs, rank) => {
          expect(Math.abs(countIndices(runs) - (numUnits * rankWeights[rank]!) / total)).toBeLessThan(1);
        });
      }),
    );
  });
});

describe("dealKeyValueHeads", () => {
  test.each([
    { name: "one whole group", begin: 0, end: 4, groupSize: 4, expected: [0] },
    { name: "a part of one group", begin: 5, end: 7, groupSize: 4, expected: [1] },
    { name: "equal parts of two groups", begin: 3, end: 5, groupSize: 4, expected: [0, 1] },
    { name: "unequal parts of two groups", begin: 2, end: 5, groupSize: 4, expected: [0, 1] },
    { name: "a whole group between two parts", begin: 3, end: 9, groupSize: 4, expected: [0, 1, 2] },
    { name: "no heads", begin: 0, end: 0, groupSize: 4, expected: [] },
  ])("$name", ({ begin, end, groupSize, expected }) => {
    expect(listIndices(dealKeyValueHeads([{ begin, end }], groupSize))).toEqual(expected);
  });
});
