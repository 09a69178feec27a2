import { describe, expect, test } from "@jest/globals";
import { createRandomState, nextUint32, nextUniform, splitmix64 } from "../../../src/decode/random.ts";

describe("random", () => {
  test("xoshiro128** gives the reference implementation's numbers", () => {
    const state = Uint32Array.of(1, 2, 3, 4);
    const outputs = Array.from({ length: 10 }, () => nextUint32(state));
    expect(outputs).toEqual([
      11520, 0, 5927040, 70819200, 2031721883, 1637235492, 1287239034, 3734860849, 3729100597, 4258142804,
    ]);
    expect([...nextState(10)]).toEqual([939045227, 1864939416, 1451579149, 2199351389]);
  });

  test("splitmix64 gives the reference implementation's numbers", () => {
    const values: bigint[] = [];
    for (let state = 1234567n; values.length < 5;) {
      const step = splitmix64(state);
      values.push(step.value);
      state = step.state;
    }
    expect(values).toEqual([
      6457827717110365317n,
      3203168211198807973n,
      9817491932198370423n,
      4593380528125082431n,
      16408922859458223821n,
    ]);
  });

  test("uniform numbers lie in [0, 1) and have the mean and variance of it", () => {
    const state = createRandomState(7, 0);
    const samples = Array.from({ length: 100_000 }, () => nextUniform(state));
    const mean = samples.reduce((sum, x) => sum + x, 0) / samples.length;
    const variance = samples.reduce((sum, x) => sum + (x - mean) ** 2, 0) / samples.length;
    expect(samples.every((x) => x >= 0 && x < 1)).toBe(true);
    // Four standard errors: 4 * 0.2887 / sqrt(1e5), and 4 * 0.0745 / sqrt(1e5).
    expect(Math.abs(mean - 0.5)).toBeLessThan(0.0037);
    expect(Math.abs(variance - 1 / 12)).toBeLessThan(0.001);
  });

  test("the same seed and stream repeat, another seed or stream does not", () => {
    const firstNumbers = (seed: number, stream: number) => {
      const state = createRandomState(seed, stream);
      return [nextUint32(state), nextUint32(state)].join();
    };
    expect(firstNumbers(5, 3)).toBe(firstNumbers(5, 3));
    const all = [0, 1, 2, 2 ** 32, 2 ** 53 - 1].flatMap((seed) =>
      [0, 1, 2, 1000].map((stream) => firstNumbers(seed, stream)),
    );
    expect(new Set(all).size).toBe(20);
  });
});

function nextState(steps: number): Uint32Array {
  const state = Uint32Array.of(1, 2, 3, 4);
  for (let i = 0; i < steps; i += 1) nextUint32(state);
  return state;
}
