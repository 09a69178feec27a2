/** What collectives are made of, and what that takes on a link. */
import { describe, expect, test } from "@jest/globals";
import {
  describedLink,
  exchangeSeconds,
  listExchanges,
  messageSeconds,
  type CollectiveCall,
} from "../../../src/partition/collective-cost.ts";

const limits = { oneShotBytes: 16384, pairBytes: 262144 };

describe("exchanges", () => {
  const inHost = "ranks of a host";
  test.each<[CollectiveCall["kind"], number, number[], [string, number][]]>([
    ["allReduce", 1000, [1], []],
    ["allReduce", 1000, [1, 1], [["hosts", 1000]]],
    ["allReduce", 262144, [1, 1], [["hosts", 262144]]],
    [
      "allReduce",
      1 << 20,
      [1, 1],
      [
        ["hosts", 1 << 19],
        ["hosts", 1 << 19],
      ],
    ],
    ["allReduce", 16384, [1, 1, 1], [["hosts", 32768]]],
    [
      "allReduce",
      30000,
      [1, 1, 1],
      [
        ["hosts", 20000],
        ["hosts", 20000],
      ],
    ],
    ["allReduce", 1 << 20, [2], [[inHost, 1 << 20]]],
    [
      "allReduce",
      30000,
      [3],
      [
        [inHost, 20000],
        [inHost, 20000],
      ],
    ],
    // Each of a host's ranks takes from all of the others.
    ["allReduce", 1000, [2, 2], [["hosts", 4000]]],
    ["allReduce", 1000, [3, 1], [["hosts", 3000]]],
    // By hosts: reduce-scatter and all-gather between them.
    [
      "allReduce",
      30000,
      [2, 2, 2],
      [
        [inHost, 30000],
        ["hosts", 20000],
        ["hosts", 20000],
        [inHost, 30000],
      ],
    ],
    ["allGather", 6000, [1, 1, 1], [["hosts", 4000]]],
  ])("%s of %i bytes, hosts of %j ranks", (kind, bytes, hosts, expected) => {
    expect(listExchanges({ kind, bytes }, hosts, limits)).toEqual(
      expected.map(([between, each]) => ({ between, bytes: each })),
    );
  });
});

describe("time", () => {
  test("a described link: its latency, then its bytes at its rate", () => {
    const link = describedLink(1e-3, 1e6);
    expect([0, 500, 5e6].map((bytes) => messageSeconds(link, bytes))).toEqual([1e-3, 1.5e-3, 5.001]);
  });

  test("measured messages: the line between two neighbours, beyond the last as before it, never less than the first", () => {
    const times = [
      { bytes: 0, seconds: 1 },
      { bytes: 10, seconds: 2 },
      { bytes: 20, seconds: 5 },
    ];
    expect([0, 5, 10, 15, 20, 30].map((bytes) => messageSeconds(times, bytes))).toEqual([1, 1.5, 2, 3.5, 5, 8]);
    expect(
      messageSeconds(
        [
          { bytes: 4, seconds: 1 },
          { bytes: 10, seconds: 0.5 },
        ],
        10,
      ),
    ).toBe(1);
  });

  test("exchanges follow each other, each on its own link", () => {
    const links = { hosts: describedLink(1, 1000), "ranks of a host": describedLink(0.1, 1000) };
    const exchanges = listExchanges({ kind: "allReduce", bytes: 30000 }, [2, 2], limits);
    expect(exchangeSeconds(exchanges, links)).toBeCloseTo(2 * (0.1 + 30) + 2 * (1 + 15), 9);
  });
});
