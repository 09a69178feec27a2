import { describe, expect, test } from "@jest/globals";
import { ModelError } from "../../../src/errors.ts";
import { computeRotaryTables, readOriginalContext, readRotaryDim, readRotation } from "../../../src/model/rotary.ts";
import { Settings } from "../../../src/model/settings.ts";

const frequencies = (config: Record<string, unknown>, headDim = 8): number[] => [
  ...readRotation(new Settings("config.json", config), headDim, 64).frequencies,
];
const rounded = (values: number[]): number[] => values.map((value) => Number(value.toPrecision(6)));

describe("frequencies", () => {
  test("fall from 1 to 1/theta", () => {
    expect(rounded(frequencies({}))).toEqual([1, 0.1, 0.01, 0.001]);
    expect(rounded(frequencies({ rope_theta: 16 }))).toEqual([1, 0.5, 0.25, 0.125]);
  });

  test("rope_scaling null or default changes nothing", () => {
    expect(frequencies({ rope_scaling: null })).toEqual(frequencies({}));
    expect(frequencies({ rope_scaling: { rope_type: "default" } })).toEqual(frequencies({}));
  });

  test.each(["type", "rope_type"])("linear scaling, spelt %s", (key) => {
    const scaled = frequencies({ rope_theta: 16, rope_scaling: { [key]: "linear", factor: 4 } });
    expect(rounded(scaled)).toEqual([0.25, 0.125, 0.0625, 0.03125]);
  });

  test("rope_parameters hold theta and scaling in one", () => {
    const scaled = frequencies({ rope_parameters: { rope_theta: 16, rope_type: "linear", factor: 4 } });
    expect(rounded(scaled)).toEqual([0.25, 0.125, 0.0625, 0.03125]);
  });

  test("llama3 scaling keeps short waves, stretches long ones, blends between", () => {
    const scaling = {
      rope_type: "llama3",
      factor: 8,
      low_freq_factor: 1,
      high_freq_factor: 4,
      original_max_position_embeddings: 64,
    };
    // Waves in a context of 64: 64 * frequency / (2 pi) = 10.19, 3.22, 1.019, 0.32.
    const plain = frequencies({ rope_theta: 10000 }, 16);
    const scaled = frequencies({ rope_theta: 10000, rope_scaling: scaling }, 16);
    const blend = (waves: number): number => (1 - (waves - 1) / 3) / 8 + (waves - 1) / 3;
    const ratios = scaled.map((frequency, i) => Number((frequency / plain[i]!).toFixed(4)));
    const waves = plain.map((frequency) => (64 * frequency) / (2 * Math.PI));
    expect(ratios.slice(0, 4)).toEqual([
      1,
      Number(blend(waves[1]!).toFixed(4)),
      Number(blend(waves[2]!).toFixed(4)),
      0.125,
    ]);
    expect(ratios.slice(4)).toEqual([0.125, 0.125, 0.125, 0.125]);
  });

  test.each<[Record<string, unknown>, string]>([
    [
      { rope_scaling: { rope_type: "yarn", factor: 4 } },
      '"rope_scaling.rope_type" in "config.json": expected one of "default", "linear", "llama3", "longrope", "su", received "yarn".',
    ],
    [
      { rope_scaling: { type: "dynamic", factor: 4 } },
      '"rope_scaling.type" in "config.json": expected one of "default", "linear", "llama3", "longrope", "su", received "dynamic".',
    ],
    [
      { rope_scaling: { type: "linear", factor: 0 } },
      '"rope_scaling.factor" in "config.json": expected a number above 0, received 0.',
    ],
    [
      {
        rope_scaling: {
          rope_type: "llama3",
          factor: 8,
          low_freq_factor: 4,
          high_freq_factor: 4,
          original_max_position_embeddings: 64,
        },
      },
      '"low_freq_factor" 4 in "config.json" must be below "high_freq_factor" 4. Check the rope scaling.',
    ],
    [
      { rope_scaling: { type: "longrope", short_factor: [1, 1, 1] }, original_max_position_embeddings: 64 },
      '"rope_scaling.short_factor" in "config.json": expected a list of 4 numbers above 0, received [1,1,1].',
    ],
  ])("%j is refused", (config, message) => {
    expect(() => frequencies(config)).toThrow(new ModelError(message));
  });
});

describe("longrope", () => {
  const config = {
    rope_theta: 16,
    max_position_embeddings: 4096,
    original_max_position_embeddings: 64,
    rope_scaling: { type: "su", short_factor: [1, 1, 1, 2], long_factor: [1, 2, 4, 8] },
  };
  const settings = (change: Record<string, unknown> = {}): Settings =>
    new Settings("config.json", { ...config, ...change });

  test("short contexts have one list of factors, longer ones another", () => {
    expect(readOriginalContext(settings())).toBe(64);
    expect(rounded([...readRotation(settings(), 8, 64).frequencies])).toEqual([1, 0.5, 0.25, 0.0625]);
    expect(rounded([...readRotation(settings(), 8, 65).frequencies])).toEqual([1, 0.25, 0.0625, 0.015625]);
  });

  test("cos and sin grow with the stretch of the context, unless attention_factor says otherwise", () => {
    const grown = Math.sqrt(1 + Math.log(64) / Math.log(64));
    expect(readRotation(settings(), 8, 64).scale).toBeCloseTo(grown, 12);
    expect(readRotation(settings({ max_position_embeddings: 64 }), 8, 64).scale).toBe(1);
    const scaling = { ...config.rope_scaling, attention_factor: 1.5 };
    expect(readRotation(settings({ rope_scaling: scaling }), 8, 64).scale).toBe(1.5);
  });

  test("other models have no such context", () => {
    expect(readOriginalContext(settings({ rope_scaling: null }))).toBeUndefined();
    expect(readOriginalContext(settings({ rope_scaling: { type: "linear", factor: 2 } }))).toBeUndefined();
  });
});

describe("heads of which a part is turned", () => {
  const dimOf = (config: Record<string, unknown>): number => readRotaryDim(new Settings("config.json", config), 16);

  test("the share is rounded down", () => {
    expect(dimOf({})).toBe(16);
    expect(dimOf({ partial_rotary_factor: 0.75 })).toBe(12);
    expect(dimOf({ rope_parameters: { partial_rotary_factor: 0.3 } })).toBe(4);
  });

  test.each([
    [{ partial_rotary_factor: 0.2 }, '"partial_rotary_factor": 0.2', 3],
    [{ partial_rotary_factor: 1.25 }, '"partial_rotary_factor": 1.25', 20],
    [{ rope_parameters: { partial_rotary_factor: 0.01 } }, '"rope_parameters.partial_rotary_factor": 0.01', 0],
  ])("%j is refused", (config, what, rotaryDim) => {
    expect(() => dimOf(config)).toThrow(
      new ModelError(`${what} in "config.json" is not supported: it would turn ${rotaryDim} of 16 elements of a head.`),
    );
  });
});

test("tables hold cos and sin of position * frequency, times the scale", () => {
  const { cos, sin } = computeRotaryTables({ frequencies: Float32Array.from([1, 0.5]), scale: 1.5 }, 3);
  const angles = [0, 1, 2].flatMap((position) => [position, position / 2]);
  expect(rounded([...cos])).toEqual(rounded(angles.map((angle) => 1.5 * Math.cos(angle))));
  expect(rounded([...sin])).toEqual(rounded(angles.map((angle) => 1.5 * Math.sin(angle))));
});

test("tables of an absurd context are refused", () => {
  expect(() => computeRotaryTables({ frequencies: new Float32Array(64), scale: 1 }, 10_000_000)).toThrow(
    new ModelError(
      "Rotary tables of 10000000 positions and 64 frequencies would take 5120000000 bytes, more than 1073741824. " +
        "Pass a smaller maxContext.",
    ),
  );
});
