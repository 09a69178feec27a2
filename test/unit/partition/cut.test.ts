/** The algebra of a cut axis: what unification learns, what it refuses, and what is dealt in the end. */
import { describe, expect, test } from "@jest/globals";
import { axisSize, blocks, Cuts, packed, scaled, units, type Cut } from "../../../src/partition/cut.ts";
import { listIndices } from "../../../src/partition/runs.ts";

const deal = (cuts: Cuts, cut: Cut, worldSize = 2): number[][] =>
  cuts.deal(cut, Array<number>(worldSize).fill(1)).map(listIndices);

describe("unify", () => {
  test("plain units become whatever the other is", () => {
    const cuts = new Cuts();
    const features = units(6);
    const heads = units(3);
    expect(cuts.unify(features, scaled(heads, 2))).toBe(true);
    expect(deal(cuts, features)).toEqual([
      [0, 1, 2, 3],
      [4, 5],
    ]);
    expect(cuts.unitsOf(features)).toEqual(new Set([heads]));
  });

  test("units of 4 and units of 6 do not fit, units of 4 and of 8 do", () => {
    const cuts = new Cuts();
    expect(cuts.unify(scaled(units(6), 4), scaled(units(4), 6))).toBe(false);
    const fine = units(6);
    const coarse = units(3);
    expect(cuts.unify(scaled(fine, 4), scaled(coarse, 8))).toBe(true);
    expect(deal(cuts, fine)).toEqual([
      [0, 1, 2, 3],
      [4, 5],
    ]);
  });

  test("blocks of which the last is shorter", () => {
    const cuts = new Cuts();
    const features = units(10);
    expect(cuts.unify(features, blocks(10, 4))).toBe(true);
    expect(deal(cuts, features, 3)).toEqual([
      [0, 1, 2, 3],
      [4, 5, 6, 7],
      [8, 9],
    ]);
    const pairs = units(5);
    expect(cuts.unify(scaled(pairs, 2), features)).toBe(true);
    expect(deal(cuts, pairs, 3)).toEqual([[0, 1], [2, 3], [4]]);
    expect(cuts.unify(blocks(10, 4), packed([units(4), units(6)]))).toBe(false);
  });

  test("packed parts must have the same borders", () => {
    const cuts = new Cuts();
    expect(cuts.unify(packed([units(2), units(4)]), packed([units(3), units(3)]))).toBe(false);
    expect(cuts.unify(packed([units(2), units(4)]), packed([units(2), units(2), units(2)]))).toBe(false);
    expect(cuts.unify(packed([units(2), units(4)]), packed([units(2), units(4)]))).toBe(true);
  });

  test("units of a size reach into packed parts, if each part is made of them", () => {
    const cuts = new Cuts();
    const parts = [units(4), units(8)];
    expect(cuts.unify(packed(parts), scaled(units(3), 4))).toBe(true);
    expect(deal(cuts, parts[1]!)).toEqual([
      [0, 1, 2, 3],
      [4, 5, 6, 7],
    ]);
    expect(cuts.unify(scaled(units(2), 3), packed([units(2), units(4)]))).toBe(false);
  });

  test("axes of different sizes are never one", () => {
    expect(new Cuts().unify(units(4), units(5))).toBe(false);
  });

  test("a cut is not made of itself", () => {
    const cuts = new Cuts();
    const heads = units(4);
    const keyValueHeads: Cut = { kind: "keyValueHeads", of: scaled(heads, 2), groupSize: 2 };
    expect(axisSize(keyValueHeads)).toBe(4);
    expect(cuts.unify(heads, keyValueHeads)).toBe(false);
  });

  test("key/value heads are the same when their query heads are", () => {
    const cuts = new Cuts();
    const [a, b] = [units(6), units(6)];
    const keyValueHeadsOf = (of: Cut, groupSize: number): Cut => ({ kind: "keyValueHeads", of, groupSize });
    expect(cuts.unify(keyValueHeadsOf(a, 2), keyValueHeadsOf(b, 2))).toBe(true);
    expect(cuts.areRelated(a, b)).toBe(true);
    expect(cuts.unify(keyValueHeadsOf(units(9), 3), scaled(units(1), 3))).toBe(false);
  });
});

test("packed parts are dealt each on its own", () => {
  const cuts = new Cuts();
  const heads = units(3);
  const qkv = packed([scaled(heads, 2), heads, heads]);
  expect(deal(cuts, qkv)).toEqual([
    [0, 1, 2, 3, 6, 7, 9, 10],
    [4, 5, 8, 11],
  ]);
  expect(cuts.isContiguous(qkv)).toBe(false);
  expect(cuts.isContiguous(scaled(heads, 2))).toBe(true);
});

test("key/value heads repeat, and so does what contains them", () => {
  const cuts = new Cuts();
  const heads = units(3);
  const keyValueHeads: Cut = { kind: "keyValueHeads", of: heads, groupSize: 3 };
  expect(deal(cuts, keyValueHeads)).toEqual([[0], [0]]);
  expect(cuts.repeats(packed([heads, scaled(keyValueHeads, 2)]))).toBe(true);
  expect(cuts.repeats(scaled(heads, 2))).toBe(false);
});
