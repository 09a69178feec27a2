/** What a plan makes of a decode step, on numbers that can be followed by hand. */
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "@jest/globals";
import { InternalError } from "../../../src/errors.ts";
import { loadModel } from "../../../src/model/model.ts";
import { describedLink } from "../../../src/partition/collective-cost.ts";
import { partition } from "../../../src/partition/partition.ts";
import type { Plan } from "../../../src/partition/plan.ts";
import {
  companiesToMeasure,
  describePredictions,
  predictStep,
  predictWork,
  rankShares,
  type MeasuredCompany,
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

/** Beside what is spent in collectives: 8 ms of ops that are cut, 1 ms of norms that are not, 1 ms outside of all nodes. */
const measuredOn = (numRanks: number, collectiveSeconds: number, threadsPerRank = 1): MeasuredCompany => ({
  company: { numRanks, threadsPerRank, isWhole: false },
  plan: planFor(numRanks),
  step: {
    seconds: 10e-3 + collectiveSeconds,
    collectiveSeconds,
    opSeconds: new Map([
      ["FusedMatMul", 7e-3],
      ["CachedAttention", 1e-3],
      ["SkipSimplifiedLayerNormalization", 1e-3],
    ]),
    nodeSeconds: 1e-6,
  },
});
const alone = [measuredOn(1, 0)];

const ALLREDUCE_BYTES = 96 * 4;
/** Each of them is a node more than a rank alone has. */
const NODES = 8 * 1e-6;
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
    const { stepSeconds, waitingSeconds } = predictStep(planFor(2, [2, 1]), alone, network, ownHosts(2));
    expect(stepSeconds - waitingSeconds).toBeCloseTo(8e-3 * first! + 2e-3 + NODES, 12);
  });
});

describe("a step", () => {
  test("one rank: as measured, without waiting", () => {
    expect(predictStep(planFor(1), alone, undefined, ownHosts(1))).toEqual({
      numRanks: 1,
      stepSeconds: 10e-3,
      tokensPerSecond: 100,
      waitingSeconds: 0,
      takesTurns: false,
    });
  });

  test("two hosts: half of what is cut, all of the rest, and 8 exchanges of latency and bytes, 2 of latency", () => {
    const { stepSeconds, waitingSeconds, tokensPerSecond } = predictStep(planFor(2), alone, network, ownHosts(2));
    expect(waitingSeconds).toBeCloseTo(8 * 2e-3 + 2 * 1e-3, 12);
    expect(stepSeconds).toBeCloseTo(4e-3 + 2e-3 + NODES + 18e-3, 12);
    expect(tokensPerSecond).toBeCloseTo(1 / stepSeconds, 9);
  });

  test("four ranks on two hosts: from two ranks of one, whose memory is not the network, and of whose link each takes a part", () => {
    const placement: Placement = {
      hosts: [2, 2],
      machines: [0, 2].map((first) => ({ ranks: [first, first + 1], threadsPerRank: 1, numCores: 2 })),
    };
    const plan = planFor(4);
    const measured = measuredOn(2, 1e-3);
    const { stepSeconds, waitingSeconds } = predictStep(plan, [measured], network, placement);
    const overMemory = 8 * (1e-5 + ALLREDUCE_BYTES / 1e9) + 2e-5;
    expect(waitingSeconds).toBeCloseTo(1e-3 - overMemory + 8 * (1e-3 + 4e-3) + 2e-3, 12);
    const share = Math.max(...rankShares(plan)) / 0.5;
    expect(stepSeconds - waitingSeconds).toBeCloseTo(8e-3 * share + 2e-3, 12);
  });

  test("uneven hosts: the one whose ranks take longest counts", () => {
    const placement: Placement = {
      hosts: [2, 1],
      machines: [[0, 1], [2]].map((ranks) => ({ ranks, threadsPerRank: 1, numCores: 2 })),
    };
    const slow = measuredOn(2, 5e-3);
    const { stepSeconds } = predictStep(planFor(3), [...alone, slow], network, placement);
    const third = Math.max(...rankShares(planFor(3)).slice(0, 2)) / 0.5;
    const overMemory = 8 * (1e-5 + ALLREDUCE_BYTES / 1e9) + 2e-5;
    expect(stepSeconds).toBeCloseTo(15e-3 + 8e-3 * (third - 1) - overMemory + 8 * (1e-3 + 2e-3) + 2e-3, 12);
  });
});

describe("hosts that share one machine", () => {
  test("its step as measured, but for the network", () => {
    const measured = measuredOn(3, 4e-3);
    const { stepSeconds, waitingSeconds, takesTurns } = predictStep(planFor(3), [measured], network, oneMachine(3));
    const more = 8 * (1e-3 + 2e-3) + 2e-3 - (8 * (1e-5 + (2 * ALLREDUCE_BYTES) / 1e9) + 2e-5);
    expect(stepSeconds).toBeCloseTo(14e-3 + more, 12);
    expect(waitingSeconds).toBeCloseTo(4e-3 + more, 12);
    expect(takesTurns).toBe(true);
  });

  test("a rank's work before each of 8 collectives and behind the last", () => {
    expect(predictWork(planFor(3), [measuredOn(3, 4e-3)], oneMachine(3))).toBeCloseTo(10e-3 / 9, 12);
  });
});

describe("what is measured", () => {
  const companies = (...placements: readonly Placement[]) =>
    companiesToMeasure(placements, false).map(
      ({ numRanks, threadsPerRank, isWhole }) => `${numRanks} x ${threadsPerRank}${isWhole ? ", whole" : ""}`,
    );

  test("on one machine each number of ranks as it is", () => {
    expect(companies(oneMachine(1, 2), oneMachine(2, 1), oneMachine(3, 1))).toEqual([
      "1 x 2, whole",
      "2 x 1, whole",
      "3 x 1, whole",
    ]);
  });

  test("ranks of different weights, with their parts", () => {
    expect(companiesToMeasure([oneMachine(2)], true)).toEqual([{ numRanks: 2, threadsPerRank: 1, isWhole: false }]);
    const { stepSeconds } = predictStep(planFor(2, [2, 1]), [measuredOn(2, 1e-3)], network, oneMachine(2));
    const evenly = predictStep(planFor(2), [measuredOn(2, 1e-3)], network, oneMachine(2));
    expect(stepSeconds - evenly.stepSeconds).toBeCloseTo(8e-3 * (rankShares(planFor(2, [2, 1]))[0]! / 0.5 - 1), 12);
  });

  test("on hosts of their own one rank, with its parts", () => {
    expect(companies(ownHosts(1), ownHosts(2), ownHosts(3))).toEqual(["1 x 1"]);
  });

  test("what was not measured is not guessed", () => {
    expect(() => predictStep(planFor(2), alone, network, oneMachine(2, 2))).toThrow(
      new InternalError("No step of 2 ranks with 2 threads each was measured."),
    );
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
