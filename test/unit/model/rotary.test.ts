import { describe, expect, test } from "@jest/globals";
import { ModelError } from "../../../src/errors.ts";
import { layOutHeads } from "../../../src/model/head-padding.ts";
import { computeRotaryTables, readRotaryFrequencies } from "../../../src/model/rotary.ts";
import { Settings } from "../../../src/model/settings.ts";

const frequencies = (config: Record<string, unknown>, headDim = 8): number[] => [
  ...readRotaryFrequencies(new Settings("config.json", config), headDim),
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
      '"rope_scaling.rope_type" in "config.json": expected one of "default", "linear", "llama3", received "yarn".',
    ],
    [
      { rope_scaling: { type: "dynamic", factor: 4 } },
      '"rope_scaling.type" in "config.json": expected one of "default", "linear", "llama3", received "dynamic".',
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
      { partial_rotary_factor: 0.5 },
      '"partial_rotary_factor": 0.5 in "config.json" is not supported: whole heads are turned.',
    ],
    [
      { rope_parameters: { partial_rotary_factor: 0.25 } },
      '"rope_parameters.partial_rotary_factor": 0.25 in "config.json" is not supported: whole heads are turned.',
    ],
  ])("%j is refused", (config, message) => {
    expect(() => frequencies(config)).toThrow(new ModelError(message));
  });
});

test("tables hold cos and sin of position * frequency, and zeros for padding", () => {
  const { cos, sin } = computeRotaryTables(Float32Array.from([1, 0.5]), layOutHeads(4, true), 3);
  expect(cos).toHaveLength(3 * 8);
  const pad = [0, 0, 0, 0, 0, 0];
  expect(Array.from(cos, (value) => Number(value.toFixed(6)))).toEqual(
    [0, 1, 2].flatMap((p) => [Number(Math.cos(p).toFixed(6)), Number(Math.cos(p / 2).toFixed(6)), ...pad]),
  );
  expect(Array.from(sin, (value) => Number(value.toFixed(6)))).toEqual(
    [0, 1, 2].flatMap((p) => [Number(Math.sin(p).toFixed(6)), Number(Math.sin(p / 2).toFixed(6)), ...pad]),
  );
});

test("tables of an absurd context are refused", () => {
  const layout = layOutHeads(128, true);
  expect(() => computeRotaryTables(new Float32Array(64), layout, 10_000_000)).toThrow(
    new ModelError(
      "Rotary tables of 10000000 positions and 64 frequencies would take 5120000000 bytes, more than 1073741824. " +
        "Pass a smaller maxContext.",
    ),
  );
});
