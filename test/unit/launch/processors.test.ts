import { availableParallelism } from "node:os";
import { describe, expect, test } from "@jest/globals";
import { drawBinding, listCores, shareOfCores } from "../../../src/launch/processors.ts";

/** Four cores of two hardware threads each, numbered as Linux does. */
const CORES = [
  [0, 4],
  [1, 5],
  [2, 6],
  [3, 7],
];

describe("each rank gets its share of the cores", () => {
  test.each([
    [1, [[0, 1, 2, 3]]],
    [
      2,
      [
        [0, 1],
        [2, 3],
      ],
    ],
    [3, [[0], [1], [2, 3]]],
    [4, [[0], [1], [2], [3]]],
  ])("%i ranks", (localWorldSize, shares) => {
    const actual = Array.from({ length: localWorldSize }, (_, localRank) =>
      shareOfCores(CORES, localRank, localWorldSize).map(([first]) => first),
    );
    expect(actual).toEqual(shares);
  });
});

test("a binding is drawn as mpirun draws it", () => {
  expect(drawBinding(CORES, shareOfCores(CORES, 1, 2))).toBe("core 2, core 3: [././B/B]");
});

test("the cores of this host cover the processors we may use", () => {
  const processors = listCores().flat();
  expect(processors).toHaveLength(availableParallelism());
  expect(new Set(processors).size).toBe(processors.length);
});
