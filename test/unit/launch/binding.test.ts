import { describe, expect, test } from "@jest/globals";
import { bindRank, type BindTo, drawBinding, shareOf } from "../../../src/launch/binding.ts";
import type { MapBy } from "../../../src/launch/placement.ts";

/** Four cores of two hardware threads each, numbered as Linux does. */
const CORES = [
  [0, 4],
  [1, 5],
  [2, 6],
  [3, 7],
];
const ONE_DOMAIN = { cores: CORES, numaDomains: [CORES] };
const TWO_DOMAINS = { cores: CORES, numaDomains: [CORES.slice(0, 2), CORES.slice(2)] };

test.each([
  [1, ["abcd"]],
  [2, ["ab", "cd"]],
  [3, ["a", "b", "cd"]],
  [4, ["a", "b", "c", "d"]],
  [5, ["a", "a", "b", "c", "d"]],
])("%i equal shares of four items, none of them empty", (count, shares) => {
  const actual = Array.from({ length: count }, (_, index) => shareOf([..."abcd"], index, count).join(""));
  expect(actual).toEqual(shares);
});

describe("the processors of each rank of a host", () => {
  const all = [0, 4, 1, 5, 2, 6, 3, 7];
  test.each<[host: typeof ONE_DOMAIN, bindTo: BindTo, mapBy: MapBy, processors: (readonly number[] | undefined)[]]>([
    [TWO_DOMAINS, "none", "slot", [undefined, undefined]],
    [TWO_DOMAINS, "none", "numa", [undefined, undefined]],
    [ONE_DOMAIN, "numa", "numa", [undefined, undefined]],
    [TWO_DOMAINS, "numa", "numa", [all.slice(0, 4), all.slice(4), all.slice(0, 4)]],
    [TWO_DOMAINS, "numa", "slot", [all.slice(0, 4), all.slice(0, 4), all.slice(4)]],
    [
      TWO_DOMAINS,
      "core",
      "slot",
      [
        [0, 4],
        [1, 5],
        [2, 6, 3, 7],
      ],
    ],
    [
      TWO_DOMAINS,
      "core",
      "numa",
      [
        [0, 4],
        [2, 6, 3, 7],
        [1, 5],
      ],
    ],
    [
      ONE_DOMAIN,
      "core",
      "numa",
      [
        [0, 4, 1, 5],
        [2, 6, 3, 7],
      ],
    ],
  ])("%j --bind-to %s --map-by %s", (host, bindTo, mapBy, processors) => {
    const localWorldSize = processors.length;
    const bound = processors.map((_, localRank) =>
      bindRank(host, { rank: 0, host: "a", localRank, localWorldSize }, { bindTo, mapBy }),
    );
    expect(bound).toEqual(processors);
  });
});

test("more ranks than cores cannot each have their own", () => {
  const place = { rank: 0, host: "a", localRank: 0, localWorldSize: 5 };
  expect(() => bindRank(ONE_DOMAIN, place, { bindTo: "core", mapBy: "slot" })).toThrow(
    "--bind-to core cannot give 5 ranks a core of their own: host a has 4. Ask for at most 4 ranks, or leave out --bind-to.",
  );
});

test("a binding is drawn as mpirun draws it", () => {
  expect(drawBinding(CORES, CORES.slice(2))).toBe("core 2, core 3: [././B/B]");
});
