/** What a plan makes of a decode step, on numbers that can be followed by hand. */
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "@jest/globals";
import { loadModel } from "../../../src/model/model.ts";
import { describedLink } from "../../../src/partition/collective-cost.ts";
import { partition } from "../../../src/partition/partition.ts";
import type { Plan } from "../../../src/partition/plan.ts";
import {
  describePredictions,
  phaseSeconds,
  predictStep,
  predictWork,
  rankShares,
  threadsToMeasure,
  type MeasuredStep,
  type Network,
  type Placement,
  type Prediction,
} from "../../../src/partition/predict.ts";

// 4 layers, 8 allReduces of 96 floats; 6 query heads over 2 of 16, 256 features, 576 tokens
const demo = await loadModel(fileURLToPath(new URL("../../../models/demo-stories", import.meta.url)));
const planFor = (worldSize: number, rankWeights?: readonly number[]): Plan =>
  partition(demo.graph, { worldSize, rankWeights });

const LAYER_ELEMENTS = 160 * 96 + 96 * 96 + 512 * 96 + 96 * 256;
const WHOLE_ELEMENTS = 4 * LAYER_ELEMENTS + 576 * 96;

/** 8 ms of ops that are cut, 1 ms of norms that are not, 1 ms outside of all nodes, in these units. */
const stepOf = (unit: number): MeasuredStep => ({
  seconds: 10 * unit,
  opSeconds: new Map([
    ["FusedMatMul", 7 * unit],
    ["CachedAttention", unit],
    ["SkipSimplifiedLayerNormalization", unit],
  ]),
});
const oneThread = new Map([[1, stepOf(1e-3)]]);

const ALLREDUCE_BYTES = 96 * 4;
const network: Network = {
  oneShotBytes: 16384,
  pairBytes: 262144,
  links: { hosts: describedLink(1e-3, ALLREDUCE_BYTES / 1e-3), "ranks of a host": describedLink(1e-5, 1e9) },
};

/** Each rank with a host and a core to itself. */
const ownHosts = (numRanks: number): Placement => ({
  hosts: Array.from({ length: numRanks }, () => 1),
  machines: Array.from({ length: numRanks }, (_, rank) => ({ ranks: [rank], threadsPerRank: 1, numCores: 1 })),
});
/** The same hosts as containers of one machine of two cores. */
const oneMachine = (numRanks: number, threadsPerRank = 1): Placement => ({
  hosts: Array.from({ length: numRanks }, () => 1),
  machines: [{ ranks: Array.from({ length: numRanks }, (_, rank) => rank), threadsPerRank, numCores: 2 }],
});

describe("each rank's share of the products' bytes", () => {
  test("even: a half, the lookups of the embedding left out", () => {
    expect(rankShares(planFor(2))).toEqual([0.5, 0.5]);
  });

  test("repeated key/value heads make it larger: of 4 ranks the second has two of them", () => {
    const rank1 = 4 * ((32 + 32 + 32) * 96 + 96 * 32 + 128 * 96 + 96 * 64) + 144 * 96;
    const shares = rankShares(planFor(4));
    expect(shares[1]).toBeCloseTo(rank1 / WHOLE_ELEMENTS, 12);
    expect(Math.max(...shares)).toBe(shares[1]);
  });

  test("weights: a rank of twice the weight takes twice as much", () => {
    const [first, second] = rankShares(planFor(2, [2, 1]));
    expect(first! / second!).toBeGreaterThan(1.5);
    expect(first! / second!).toBeLessThan(2.2);
    const { stepSeconds, waitingSeconds } = predictStep(planFor(2, [2, 1]), oneThread, network, ownHosts(2));
    expect(stepSeconds - waitingSeconds).toBeCloseTo(8e-3 * first! + 2e-3, 12);
  });
});

describe("a step", () => {
  test("one rank: as measured, without waiting", () => {
    expect(predictStep(planFor(1), oneThread, undefined, ownHosts(1))).toEqual({
      numRanks: 1,
      stepSeconds: 10e-3,
      tokensPerSecond: 100,
      waitingSeconds: 0,
      takesTurns: false,
    });
  });

  test("two hosts: half of what is cut, all of the rest, and 8 exchanges of latency and bytes, 2 of latency", () => {
    const { stepSeconds, waitingSeconds, tokensPerSecond } = predictStep(planFor(2), oneThread, network, ownHosts(2));
    expect(waitingSeconds).toBeCloseTo(8 * 2e-3 + 2 * 1e-3, 12);
    expect(stepSeconds).toBeCloseTo(4e-3 + 2e-3 + 18e-3, 12);
    expect(tokensPerSecond).toBeCloseTo(1 / 24e-3, 9);
  });

  test("four ranks on two hosts: the two of a host share its link, over which each takes from two others", () => {
    const placement: Placement = {
      hosts: [2, 2],
      machines: [0, 2].map((first) => ({ ranks: [first, first + 1], threadsPerRank: 1, numCores: 2 })),
    };
    expect(threadsToMeasure(placement)).toEqual([2]);
    const steps = new Map([[2, stepOf(1e-3)]]);
    const plan = planFor(4);
    const { stepSeconds, waitingSeconds } = predictStep(plan, steps, network, placement);
    expect(waitingSeconds).toBeCloseTo(8 * (1e-3 + 4e-3) + 2e-3, 12);
    expect(stepSeconds - waitingSeconds).toBeCloseTo(2 * 8e-3 * Math.max(...rankShares(plan)) + 2e-3, 12);
  });
});

describe("ranks that share two cores", () => {
  test("what is measured: as many threads as run at once, in full turns and in the last", () => {
    expect([1, 2, 3, 4].map((numRanks) => threadsToMeasure(oneMachine(numRanks)))).toEqual([[1], [2], [2, 1], [2]]);
    expect([1, 2, 3].map((numRanks) => threadsToMeasure(oneMachine(numRanks, 2)))).toEqual([[2], [2], [2]]);
    expect(threadsToMeasure(ownHosts(3))).toEqual([1]);
  });

  const computeMs = (numRanks: number, unit: number): number => {
    // A lone thread is faster than two: these share memory.
    const steps = new Map([
      [1, stepOf(unit)],
      [2, stepOf(0.75 * unit)],
    ]);
    return predictStep(planFor(numRanks), steps, undefined, oneMachine(numRanks)).stepSeconds * 1e3;
  };
  const third = Math.max(...rankShares(planFor(3)));

  test("two ranks: the work of two threads, halved", () => {
    expect(computeMs(2, 1e-3)).toBeCloseTo(0.75 * (8 * 2 * 0.5 + 2), 9);
  });

  test("three ranks, short phases: two whole turns, of which the last has the memory for itself", () => {
    expect(computeMs(3, 1e-3)).toBeCloseTo(0.75 * (8 * 2 * third + 2) + 8 * third + 2, 9);
  });

  test("a phase of the step as one rank computes it, and as three ranks on two cores take it", () => {
    expect([1, 2, 3, 4, 5].map((numRanks) => phaseSeconds(oneMachine(numRanks), 1e-3) * 1e3)).toEqual([1, 1, 2, 2, 3]);
    const steps = new Map([
      [1, stepOf(1e-3)],
      [2, stepOf(1e-3)],
    ]);
    const work = predictWork(planFor(3), steps, oneMachine(3));
    const whole = predictStep(planFor(3), steps, undefined, oneMachine(3)).stepSeconds;
    expect(phaseSeconds(oneMachine(3), work)).toBeCloseTo(whole / 9, 12);
  });

  test("three ranks, long phases: one and a half turns at the speed of two threads", () => {
    // 9 phases of about 80 ms are 20 turns or more for each rank.
    const whole = 0.75 * (8e3 * 2 * third + 2e3);
    expect(computeMs(3, 1)).toBeGreaterThanOrEqual(1.5 * whole);
    expect(computeMs(3, 1)).toBeLessThan(1.55 * whole);
  });
});

describe("the sentence", () => {
  const predictions = (...rates: number[]): readonly Prediction[] =>
    rates.map((tokensPerSecond, index) => ({
      numRanks: index + 1,
      tokensPerSecond,
      stepSeconds: 1 / tokensPerSecond,
      waitingSeconds: 0.4 / tokensPerSecond,
      takesTurns: index > 1,
    }));

  test.each([
    [predictions(30, 50, 61.23), "host", "Each host up to 3 makes it faster: 61.2 tokens/s instead of 30.0 on one."],
    [
      predictions(30, 50, 45, 40),
      "rank",
      "A third rank makes it slower: 45.0 tokens/s instead of 50.0, with 40 % of each step spent waiting for other ranks, which take turns on fewer cores.",
    ],
    [
      predictions(1234.5, 100),
      "host",
      "A second host makes it slower: 100 tokens/s instead of 1235, with 40 % of each step spent waiting for other ranks.",
    ],
  ] as const)("%#", (rows, place, sentence) => expect(describePredictions(rows, place)).toBe(sentence));
});
