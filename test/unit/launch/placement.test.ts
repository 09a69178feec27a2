import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import type { Host } from "../../../src/launch/hosts.ts";
import { drawMap, type MapBy, placeRanks, type RankBy } from "../../../src/launch/placement.ts";

/** "a a b": the host of each rank, in order. */
function place(hosts: readonly Host[], numRanks?: number, oversubscribe = false): string {
  return placeRanks(hosts, { numRanks, oversubscribe })
    .map(({ host }) => host)
    .join(" ");
}

const A2 = { name: "a", slots: 2 };
const B3 = { name: "b", slots: 3 };

describe("ranks are placed slot by slot", () => {
  test.each([
    [[A2], undefined, false, "a a"],
    [[A2, B3], undefined, false, "a a b b b"],
    [[A2, B3], 1, false, "a"],
    [[A2, B3], 3, false, "a a b"],
    [[A2, B3], 3, true, "a a b"],
    [[A2], 5, true, "a a a a a"],
    [[A2, B3], 6, true, "a a a b b b"],
    [[A2, B3], 8, true, "a a a a b b b b"],
  ] as const)("%j -np %s oversubscribe=%s", (hosts, numRanks, oversubscribe, expected) => {
    expect(place(hosts, numRanks, oversubscribe)).toBe(expected);
  });
});

describe("--map-by", () => {
  test.each<[mapBy: MapBy, numRanks: number | undefined, oversubscribe: boolean, expected: string]>([
    ["slot", undefined, false, "a a b b b"],
    ["numa", undefined, false, "a a b b b"],
    ["node", undefined, false, "a b a b b"],
    ["node", 3, false, "a b a"],
    ["node", 8, true, "a b a b a b a b"],
    [{ perHost: 1 }, undefined, false, "a b"],
    [{ perHost: 2 }, undefined, false, "a a b b"],
    [{ perHost: 2 }, 3, false, "a a b"],
    [{ perHost: 3 }, undefined, true, "a a a b b b"],
  ])("%j -np %s oversubscribe=%s", (mapBy, numRanks, oversubscribe, expected) => {
    const places = placeRanks([A2, B3], { mapBy, numRanks, oversubscribe });
    expect(places.map(({ host }) => host).join(" ")).toBe(expected);
  });

  test.each<[mapBy: MapBy, rankBy: RankBy, numRanks: number | undefined, expected: string]>([
    ["slot", "slot", undefined, "a a b b b"],
    ["slot", "node", undefined, "a b a b b"],
    ["node", "slot", undefined, "a a b b b"],
    ["node", "node", undefined, "a b a b b"],
    ["numa", "node", undefined, "a b a b b"],
    ["slot", "node", 3, "a b a"],
    ["node", "slot", 3, "a a b"],
    [{ perHost: 2 }, "node", undefined, "a b a b"],
  ])("%j, --rank-by %s, -np %s", (mapBy, rankBy, numRanks, expected) => {
    const places = placeRanks([A2, B3], { mapBy, rankBy, numRanks, oversubscribe: false });
    expect(places.map(({ host }) => host).join(" ")).toBe(expected);
  });

  test("node: a rank's number among those of its host", () => {
    const places = placeRanks([A2, B3], { mapBy: "node", numRanks: 3, oversubscribe: false });
    expect(places.map(({ localRank, localWorldSize }) => [localRank, localWorldSize])).toEqual([
      [0, 2],
      [0, 1],
      [1, 2],
    ]);
  });

  test("ppr with more ranks than it has room for, or than there are slots", () => {
    expect(() => placeRanks([A2, B3], { mapBy: { perHost: 2 }, numRanks: 5, oversubscribe: true })).toThrow(
      "--map-by ppr:2:node has room for 4 ranks on 2 hosts, received -np 5. Ask for fewer ranks, or for more per host.",
    );
    expect(() => placeRanks([A2, B3], { mapBy: { perHost: 3 }, oversubscribe: false })).toThrow(
      "There are not enough slots available in the system to satisfy the 6 slots that were requested: a has 2, b has 3. ",
    );
  });
});

test("--display-map", () => {
  const hosts = [A2, { name: "c", slots: 1 }, B3];
  const places = placeRanks([A2, B3], { mapBy: "node", numRanks: 3, oversubscribe: false });
  expect(drawMap(hosts, places)).toBe("a (2 slots): ranks 0, 2\nc (1 slot): no rank\nb (3 slots): rank 1\n");
});

test("a rank knows its number among the ranks of its host", () => {
  expect(placeRanks([A2, B3], { numRanks: 4, oversubscribe: false })).toEqual([
    { rank: 0, host: "a", localRank: 0, localWorldSize: 2 },
    { rank: 1, host: "a", localRank: 1, localWorldSize: 2 },
    { rank: 2, host: "b", localRank: 0, localWorldSize: 2 },
    { rank: 3, host: "b", localRank: 1, localWorldSize: 2 },
  ]);
});

test("more ranks than slots need --oversubscribe", () => {
  expect(() => place([A2, B3], 6)).toThrow(
    expect.objectContaining({
      name: "UsageError",
      message:
        "There are not enough slots available in the system to satisfy the 6 slots that were requested: a has 2, b has 3. " +
        "Ask for at most 5 ranks (-np 5), give the hosts more slots, or let ranks share slots with --oversubscribe.",
    }),
  );
});

test("every rank has exactly one place, neighbours share a host, and loads differ from the slots by at most one", () => {
  const hosts = fc
    .array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 5 })
    .map((slots) => slots.map((count, index): Host => ({ name: `h${index}`, slots: count })));
  fc.assert(
    fc.property(hosts, fc.integer({ min: 1, max: 40 }), (theHosts, numRanks) => {
      const places = placeRanks(theHosts, { numRanks, oversubscribe: true });
      expect(places.map(({ rank }) => rank)).toEqual(Array.from({ length: numRanks }, (_, rank) => rank));
      const names = places.map(({ host }) => host);
      expect([...names].sort()).toEqual(names);
      const loads = theHosts.map(({ name, slots }) => names.filter((host) => host === name).length - slots);
      if (numRanks >= theHosts.reduce((sum, { slots }) => sum + slots, 0)) {
        expect(Math.max(...loads) - Math.min(...loads)).toBeLessThanOrEqual(1);
      }
    }),
  );
});
