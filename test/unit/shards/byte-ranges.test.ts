/** Sets of bytes behave as sets, and come back from strides as they were. */
import { expect, test } from "@jest/globals";
import fc from "fast-check";
import {
  countBytes,
  decodeRanges,
  encodeRanges,
  joinRanges,
  subtractRanges,
  type ByteRange,
} from "../../../src/shards/byte-ranges.ts";

const arbitraryRanges = fc.array(
  fc.record({ begin: fc.nat(60), length: fc.nat(12) }).map(({ begin, length }) => ({ begin, end: begin + length })),
  { maxLength: 12 },
);

function bytesOf(ranges: readonly ByteRange[]): Set<number> {
  return new Set(
    ranges.flatMap(({ begin, end }) => Array.from({ length: end - begin }, (_, i) => begin + i)).sort((a, b) => a - b),
  );
}

test("joined ranges hold the same bytes, in order and apart", () => {
  fc.assert(
    fc.property(arbitraryRanges, (ranges) => {
      const joined = joinRanges(ranges);
      expect([...bytesOf(joined)]).toEqual([...bytesOf(ranges)]);
      expect(countBytes(joined)).toBe(bytesOf(ranges).size);
      joined.slice(1).forEach(({ begin }, i) => expect(begin).toBeGreaterThan(joined[i]!.end));
    }),
  );
});

test("holes smaller than the gap are taken along", () => {
  const rows = [
    { begin: 0, end: 10 },
    { begin: 14, end: 20 },
    { begin: 25, end: 30 },
  ];
  expect(joinRanges(rows, 5)).toEqual([
    { begin: 0, end: 20 },
    { begin: 25, end: 30 },
  ]);
});

test("what is missing is what is wanted and not present", () => {
  fc.assert(
    fc.property(arbitraryRanges, arbitraryRanges, (wanted, present) => {
      const missing = subtractRanges(joinRanges(wanted), joinRanges(present));
      const expected = [...bytesOf(wanted)].filter((byte) => !bytesOf(present).has(byte));
      expect([...bytesOf(missing)]).toEqual(expected);
    }),
  );
});

test("strides say the same as the ranges, in the same order", () => {
  fc.assert(
    fc.property(arbitraryRanges, (ranges) => {
      const joined = joinRanges(ranges);
      expect(decodeRanges(encodeRanges(joined))).toEqual(joined);
    }),
  );
});

test("the rows of a weight are one stride", () => {
  const rows = Array.from({ length: 4096 }, (_, row) => ({ begin: 100 + row * 22016, end: 100 + row * 22016 + 11008 }));
  expect(encodeRanges(rows)).toEqual([[100, 11008, 22016, 4096]]);
});
