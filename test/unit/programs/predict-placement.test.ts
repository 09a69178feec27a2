/** Where the ranks of a prediction are said to run. */
import { availableParallelism } from "node:os";
import { describe, expect, test } from "@jest/globals";
import { readLaunchOptions } from "../../../src/launch/options.ts";
import { describeUnlike, placeFirst, placeNamedRanks } from "../../../src/programs/predict-placement.ts";

const numCores = availableParallelism();
const onThree = { hosts: ["hosta", "hosta", "hostb"], weights: undefined };
const twoMachines = { ...onThree, machines: ["hosta", "hosta", "hostb"] };
const oneMachine = { ...onThree, machines: ["", "", ""] };

describe("the first ranks", () => {
  test("of hosts that are machines", () => {
    expect(placeFirst(twoMachines, 3, 1)).toEqual({
      hosts: [2, 1],
      machines: [
        { ranks: [0, 1], numCores, threadsPerRank: 1 },
        { ranks: [2], numCores, threadsPerRank: 1 },
      ],
    });
  });

  test("of containers of one machine", () => {
    expect(placeFirst(oneMachine, 3, 1)).toEqual({
      hosts: [2, 1],
      machines: [{ ranks: [0, 1, 2], numCores, threadsPerRank: 1 }],
    });
  });

  test("fewer than there are", () => {
    expect(placeFirst(twoMachines, 1, 1)).toEqual({
      hosts: [1],
      machines: [{ ranks: [0], numCores, threadsPerRank: 1 }],
    });
  });

  test("with all cores of their host, be it a container", () => {
    const half = Math.max(1, Math.floor(numCores / 2));
    const threads = (places: typeof oneMachine, numRanks: number): number[] =>
      placeFirst(places, numRanks, "auto").machines.map(({ threadsPerRank }) => threadsPerRank);
    expect(threads(twoMachines, 3)).toEqual([half, numCores]);
    expect(threads({ ...oneMachine, hosts: ["hosta", "hostb", "hostc"] }, 3)).toEqual([numCores]);
  });
});

describe("named ranks", () => {
  const named = readLaunchOptions({ host: ["hosta:1,hostb:2"] });

  test("of -H", () => {
    const hosts = ["hosta", "hostb", "hostb"];
    expect(placeNamedRanks(named, 3, false)).toEqual({ hosts, machines: hosts, weights: undefined });
    expect(placeNamedRanks(named, 3, true)).toEqual({ hosts, machines: ["", "", ""], weights: undefined });
  });

  test("without any, a host each", () => {
    const hosts = ["host 1", "host 2"];
    expect(placeNamedRanks(readLaunchOptions({}), 2, false)).toEqual({ hosts, machines: hosts, weights: undefined });
    expect(placeNamedRanks(readLaunchOptions({}), 2, true).machines).toEqual(["", ""]);
  });
});

test("hosts with other processors than rank 0's are told of once", () => {
  const here = { host: "hosta", processors: "2 x Fast" };
  const there = { host: "hostb", processors: "4 x Slow" };
  expect(describeUnlike([here, here, there, there])).toEqual([
    "hostb has 4 x Slow, hosta has 2 x Fast: both are taken to be as fast as hosta.",
  ]);
  expect(describeUnlike([here, { ...here, host: "hostc" }])).toEqual([]);
});
