import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { logProbability, logSoftmax, logSumExp, scoreTokens } from "../../../src/decode/score.ts";
import { hasFamilies, readRecordedCalls } from "./support.ts";

describe("log probabilities", () => {
  test("are those of the softmax", () => {
    const logits = Float32Array.of(Math.log(1), Math.log(2), Math.log(5));
    expect(logProbability(logits, 0)).toBeCloseTo(Math.log(1 / 8), 6);
    expect(logProbability(logits, 2)).toBeCloseTo(Math.log(5 / 8), 6);
    logSoftmax(logits);
    expect(logits[1]).toBeCloseTo(Math.log(2 / 8), 6);
  });

  test("survive large logits and banned tokens", () => {
    expect(logSumExp(Float32Array.of(1e30, 1e30))).toBeCloseTo(Math.fround(1e30) + Math.log(2), 5);
    expect(logProbability(Float32Array.of(1000, -3.4028234663852886e38), 0)).toBe(0);
    expect(logProbability(Float32Array.of(-1000, -1000), 1)).toBeCloseTo(-Math.log(2), 12);
  });

  test("sum to 1 whatever the row", () => {
    fc.assert(
      fc.property(fc.array(fc.float({ noNaN: true, min: -60, max: 60 }), { minLength: 1 }), (values) => {
        const logits = Float32Array.from(values);
        const sum = values.reduce((total, _, id) => total + Math.exp(logProbability(logits, id)), 0);
        expect(Math.abs(sum - 1)).toBeLessThan(1e-9);
      }),
    );
  });

  test("are summed in float64: 200000 small terms beside a large one are not lost", () => {
    const logits = new Float32Array(200_001).fill(-17);
    logits[0] = 0;
    expect(logSumExp(logits)).toBeCloseTo(Math.log1p(200_000 * Math.exp(-17)), 9);
  });
});

test("scoreTokens scores every token but the first, each from the row before it", () => {
  const rows = [Float32Array.of(0, Math.log(3)), Float32Array.of(Math.log(7), 0), Float32Array.of(5, 5)];
  const scores = scoreTokens([0, 1, 1], rows);
  expect(scores.map((score) => Math.exp(score))).toEqual([expect.closeTo(3 / 4, 6), expect.closeTo(1 / 8, 6)]);
  expect(scoreTokens([1], [])).toEqual([]);
});

(hasFamilies ? describe : describe.skip)("CTranslate2's recorded answers (needs shared/models)", () => {
  const calls = hasFamilies ? readRecordedCalls("gpt2") : [];
  const forward = (returnLogProbs: boolean) => {
    const call = calls.find(
      ({ method, options }) => method === "forward_batch" && options["return_log_probs"] === returnLogProbs,
    )!;
    return (call.output as { values: number[][][] }).values[0]!.map((row) => Float32Array.from(row));
  };

  test("forward_batch with return_log_probs", () => {
    const logits = forward(false);
    forward(true).forEach((logProbs, position) => {
      const row = logits[position]!.slice();
      logSoftmax(row);
      row.forEach((logProb, id) => expect(Math.abs(logProb - logProbs[id]!)).toBeLessThan(1e-4));
    });
  });

  test("score_batch", () => {
    const call = calls.find(({ method, input }) => method === "score_batch" && (input as unknown[]).length === 1)!;
    const recorded = (call.output as { log_probs: number[] }[])[0]!.log_probs;
    const scores = scoreTokens([84, 258, 266, 272, 265], forward(false));
    expect(scores).toHaveLength(4);
    scores.forEach((score, i) => expect(Math.abs(score - recorded[i]!)).toBeLessThan(1e-4));
  });
});
