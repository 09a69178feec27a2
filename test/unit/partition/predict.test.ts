/** What a plan makes of a decode step, on numbers that can be followed by hand. */
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "@jest/globals";
import { loadModel } from "../../../src/model/model.ts";
import { partition } from "../../../src/partition/partition.ts";
import type { Plan } from "../../../src/partition/plan.ts";
import {
  describePredictions,
  largestShare,
  predictStep,
  threadsToMeasure,
  type Link,
  type MeasuredStep,
  type Prediction,
} from "../../../src/partition/predict.ts";

// 4 layers, 8 allReduces of 96 floats; 6 query heads over 2 of 16, 256 features, 576 tokens
const demo = await loadModel(fileURLToPath(new URL("../../../models/demo-stories", import.meta.url)));
const planFor = (worldSize: number): Plan => partition(demo.graph, { worldSize });

const LAYER_ELEMENTS = 160 * 96 + 96 * 96 + 512 * 96 + 96 * 256;
const WHOLE_ELEMENTS = 4 * LAYER_ELEMENTS + 576 * 96;

const step: MeasuredStep = {
  seconds: 10e-3,
  // 8 ms of ops that are cut, 1 ms of norms that are not, 1 ms outside of all nodes
  opSeconds: new Map([
    ["FusedMatMul", 7e-3],
    ["GroupQueryAttention", 1e-3],
    ["SkipSimplifiedLayerNormalization", 1e-3],
  ]),
  numThreads: 1,
};
const ALLREDUCE_BYTES = 96 * 4;
const link: Link = {
  latencySeconds: 1e-3,
  bytesPerSecond: ALLREDUCE_BYTES / 1e-3,
  oneShotBytes: 16384,
  pairBytes: 262144,
};
const ownHosts = { threadsPerRank: 1, sharedCores: undefined };

describe("the largest share of the products' bytes", () => {
  test("even: a half, the lookups of the embedding left out", () => {
    expect(largestShare(planFor(2))).toBeCloseTo(0.5, 12);
  });

  test("repeated key/value heads make it larger: of 4 ranks the second has two of them", () => {
    const rank1 = 4 * ((32 + 32 + 32) * 96 + 96 * 32 + 128 * 96 + 96 * 64) + 144 * 96;
    expect(largestShare(planFor(4))).toBeCloseTo(rank1 / WHOLE_ELEMENTS, 12);
  });
});

describe("a step", () => {
  test("one rank: as measured, without waiting", () => {
    expect(predictStep(planFor(1), step, link, ownHosts)).toEqual({
      numRanks: 1,
      stepSeconds: 10e-3,
      tokensPerSecond: 100,
      waitingSeconds: 0,
    });
  });

  test("two hosts: half of what is cut, all of the rest, and 8 exchanges of latency and bytes, 2 of latency", () => {
    const { stepSeconds, waitingSeconds, tokensPerSecond } = predictStep(planFor(2), step, link, ownHosts);
    expect(waitingSeconds).toBeCloseTo(8 * 2e-3 + 2 * 1e-3, 12);
    expect(stepSeconds).toBeCloseTo(4e-3 + 2e-3 + 18e-3, 12);
    expect(tokensPerSecond).toBeCloseTo(1 / 24e-3, 9);
  });

  test("three hosts, direct exchange: a rank takes the bytes of two others", () => {
    expect(predictStep(planFor(3), step, link, ownHosts).waitingSeconds).toBeCloseTo(8 * (1e-3 + 2e-3) + 2e-3, 12);
  });

  test("above the limit of direct exchange: two latencies, and twice the others' chunks", () => {
    const atOnce = { ...link, oneShotBytes: ALLREDUCE_BYTES - 1, pairBytes: ALLREDUCE_BYTES - 1 };
    const waiting = (numRanks: number): number => predictStep(planFor(numRanks), step, atOnce, ownHosts).waitingSeconds;
    expect(waiting(2)).toBeCloseTo(8 * 2 * (1e-3 + 0.5e-3) + 2e-3, 12);
    expect(waiting(3)).toBeCloseTo(8 * 2 * (1e-3 + (2 / 3) * 1e-3) + 2e-3, 12);
  });

  test("ranks that share two cores: a step measured with two threads gives the work, three ranks take two turns", () => {
    const placement = { threadsPerRank: 1, sharedCores: 2 };
    expect([1, 2, 3].map((numRanks) => threadsToMeasure(numRanks, placement))).toEqual([1, 2, 2]);
    const computeMs = (numRanks: number): number => {
      const plan = planFor(numRanks);
      const { stepSeconds, waitingSeconds } = predictStep(plan, { ...step, numThreads: 2 }, link, placement);
      return (stepSeconds - waitingSeconds) * 1e3;
    };
    expect(computeMs(2)).toBeCloseTo(8 * 2 * 0.5 + 2, 9);
    expect(computeMs(3)).toBeCloseTo(2 * (8 * 2 * largestShare(planFor(3)) + 2), 9);
    expect(threadsToMeasure(3, ownHosts)).toBe(1);
  });
});

describe("the sentence", () => {
  const predictions = (...rates: number[]): Prediction[] =>
    rates.map((tokensPerSecond, index) => ({
      numRanks: index + 1,
      tokensPerSecond,
      stepSeconds: 1 / tokensPerSecond,
      waitingSeconds: 0.4 / tokensPerSecond,
    }));

  test.each([
    [predictions(30, 50, 61.23), "host", "Each host up to 3 makes it faster: 61.2 tokens/s instead of 30.0 on one."],
    [
      predictions(30, 50, 45, 40),
      "rank",
      "A third rank makes it slower: 45.0 tokens/s instead of 50.0, with 40 % of each step spent waiting for other ranks.",
    ],
    [
      predictions(1234.5, 100),
      "host",
      "A second host makes it slower: 100 tokens/s instead of 1235, with 40 % of each step spent waiting for other ranks.",
    ],
  ] as const)("%#", (rows, place, sentence) => expect(describePredictions(rows, place)).toBe(sentence));
});
