import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { createRandomState } from "../../../src/decode/random.ts";
import { argmax, chooseToken, draw, keepLargest, numReaching, sampleToken } from "../../../src/decode/sampler.ts";

const logitsOf = fc
  .array(fc.oneof(fc.integer({ min: -3, max: 3 }), fc.float({ noNaN: true, min: -50, max: 50 })), {
    minLength: 1,
    maxLength: 300,
    size: "max",
  })
  .map((values) => Float32Array.from(values));

describe("argmax", () => {
  test("takes the lowest id on ties", () => {
    expect(argmax(Float32Array.of(-1, 3, 2, 3))).toBe(1);
    expect(argmax(Float32Array.of(-0, 0))).toBe(0);
  });

  test.each([
    [[1, NaN, 2], 1, "NaN"],
    [[NaN, 1], 0, "NaN"],
    [[1, Infinity], 1, "Infinity"],
    [[-Infinity, -Infinity], 0, "-Infinity"],
  ])("refuses %p", (logits, id, value) => {
    expect(() => argmax(Float32Array.from(logits))).toThrow(
      expect.objectContaining({
        code: "ERR_SHARDRUN_EXECUTION",
        message:
          `No token can be chosen: the logit of token ${id} is ${value}. ` +
          "The checkpoint may be damaged, or its values too large for the data type it runs in.",
      }),
    );
  });
});

describe("top-k", () => {
  test("keeps the largest values, in order of place, the first ones among equals", () => {
    expect([...keepLargest(Float32Array.of(1, 5, 3, 5, 3, 3), 4)]).toEqual([1, 2, 3, 4]);
    expect([...keepLargest(Float32Array.of(2, 2, 2), 2)]).toEqual([0, 1]);
    expect([...keepLargest(Float32Array.of(3, 3, 5), 2)]).toEqual([0, 2]);
    expect([...keepLargest(Float32Array.of(2, 1), 9)]).toEqual([0, 1]);
  });

  test("agrees with sorting everything", () => {
    fc.assert(
      fc.property(logitsOf, fc.nat(), (logits, number) => {
        const k = 1 + (number % (logits.length + 1));
        const byRank = [...logits.keys()].sort((a, b) => logits[b]! - logits[a]! || a - b);
        expect([...keepLargest(logits, k)]).toEqual(byRank.slice(0, k).sort((a, b) => a - b));
      }),
    );
  });
});

describe("top-p", () => {
  test("keeps the fewest weights that reach the share", () => {
    const weights = Float64Array.of(1, 4, 2, 1);
    expect(numReaching(weights, 0.01)).toBe(1);
    expect(numReaching(weights, 0.5)).toBe(1);
    expect(numReaching(weights, 0.51)).toBe(2);
    expect(numReaching(weights, 0.75)).toBe(2);
    expect(numReaching(weights, 0.76)).toBe(3);
    expect(numReaching(weights, 0.999)).toBe(4);
    expect(numReaching(weights, 1)).toBe(4);
  });

  test("the kept weights reach the share, and would not without the smallest of them", () => {
    fc.assert(
      fc.property(logitsOf, fc.double({ min: 1e-6, max: 0.999999, noNaN: true }), (logits, topp) => {
        const weights = Float64Array.from(logits, (logit) => Math.exp(logit));
        const sorted = weights.toSorted().reverse();
        const total = sorted.reduce((sum, weight) => sum + weight, 0);
        const sumOf = (count: number) => sorted.subarray(0, count).reduce((sum, weight) => sum + weight, 0) / total;
        const count = numReaching(weights, topp);
        expect(count).toBeGreaterThanOrEqual(1);
        expect(sumOf(count)).toBeGreaterThanOrEqual(topp - 1e-12);
        if (count > 1) expect(sumOf(count - 1)).toBeLessThan(topp + 1e-12);
      }),
    );
  });
});

describe("draw", () => {
  test("splits [0, 1) in proportion to the weights, and never lands on a weight of 0", () => {
    const weights = Float64Array.of(9, 0, 1, 3, 0);
    const places = Uint32Array.of(1, 2, 3, 4);
    expect([0, 0.2499, 0.25, 1 - 2 ** -53].map((uniform) => draw(weights, places, uniform))).toEqual([1, 1, 2, 2]);
    expect(draw(Float64Array.of(0, 1), Uint32Array.of(0, 1), 0)).toBe(1);
  });
});

describe("sampleToken", () => {
  const options = { samplingTopk: 0, samplingTopp: 1, samplingTemperature: 1 };

  test.each([
    ["temperature 1", {}, [0.4, 0.3, 0.2, 0.1]],
    ["temperature 0.5 squares the probabilities", { samplingTemperature: 0.5 }, [16 / 30, 9 / 30, 4 / 30, 1 / 30]],
    ["top-k 2", { samplingTopk: 2 }, [4 / 7, 3 / 7, 0, 0]],
    ["top-p 0.75", { samplingTopp: 0.75 }, [4 / 9, 3 / 9, 2 / 9, 0]],
    ["top-p counts what top-k leaves", { samplingTopk: 3, samplingTopp: 0.7 }, [4 / 7, 3 / 7, 0, 0]],
    ["top-p counts what temperature makes", { samplingTemperature: 0.5, samplingTopp: 0.8 }, [16 / 25, 9 / 25, 0, 0]],
  ])("draws with the right frequencies: %s", (_, changes, probabilities) => {
    const logits = Float32Array.from([0.4, 0.3, 0.2, 0.1], (p) => Math.log(p) + 5);
    const random = createRandomState(42, 0);
    const numSamples = 20_000;
    const counts = [0, 0, 0, 0];
    for (let i = 0; i < numSamples; i += 1) counts[sampleToken(logits, { ...options, ...changes }, random)]! += 1;
    let chiSquare = 0;
    probabilities.forEach((p, id) => {
      if (p === 0) expect(counts[id]).toBe(0);
      else chiSquare += (counts[id]! - p * numSamples) ** 2 / (p * numSamples);
    });
    // The 99.9 % quantile for three degrees of freedom; the seed is fixed, so the test is not flaky.
    expect(chiSquare).toBeLessThan(16.27);
  });

  test("never draws a banned token, however high the temperature", () => {
    const logits = Float32Array.of(0, -3.4028234663852886e38, 0);
    const random = createRandomState(1, 0);
    const drawn = Array.from({ length: 200 }, () =>
      sampleToken(logits, { ...options, samplingTemperature: 1000 }, random),
    );
    expect([...new Set(drawn)].sort()).toEqual([0, 2]);
  });

  test("a very low temperature takes the likeliest", () => {
    const random = createRandomState(1, 0);
    expect(sampleToken(Float32Array.of(1, 1.001, 0), { ...options, samplingTemperature: 1e-6 }, random)).toBe(1);
  });
});

describe("chooseToken", () => {
  const logits = Float32Array.of(0, 1, 0.9);

  test.each([
    [{ samplingTopk: 1, samplingTopp: 1, samplingTemperature: 5 }],
    [{ samplingTopk: 0, samplingTopp: 1, samplingTemperature: 0 }],
  ])("is greedy and leaves the random state alone with %p", (options) => {
    const random = createRandomState(3, 0);
    expect(chooseToken(logits, options, random)).toBe(1);
    expect(random).toEqual(createRandomState(3, 0));
  });

  test("samples otherwise", () => {
    const random = createRandomState(3, 0);
    const options = { samplingTopk: 2, samplingTopp: 1, samplingTemperature: 1 };
    const drawn = Array.from({ length: 50 }, () => chooseToken(logits, options, random));
    expect([...new Set(drawn)].sort()).toEqual([1, 2]);
  });
});
