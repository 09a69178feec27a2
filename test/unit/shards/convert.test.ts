import { describe, expect, test } from "@jest/globals";
import { copyInto, isConvertible, nearestFloat16 } from "../../../src/shards/convert.ts";
import { float16Value } from "./support.ts";

/** Every 16-bit pattern, beginning `misalignment` bytes into a buffer. */
function allPatterns(misalignment: number): Uint8Array {
  const bytes = new Uint8Array(new ArrayBuffer(2 * 65536 + misalignment), misalignment);
  for (let half = 0; half < 65536; half += 1) bytes.set([half & 255, half >> 8], 2 * half);
  return bytes;
}

function widenAll(from: "float16" | "bfloat16", misalignment: number): { floats: Float32Array; bits: Uint32Array } {
  const floats = new Float32Array(65536);
  copyInto(allPatterns(misalignment), from, new Uint8Array(floats.buffer), "float32")(0, 0, 65536);
  return { floats, bits: new Uint32Array(floats.buffer) };
}

describe("widening to float32", () => {
  test.each([0, 1])("float16: all 65536 values, %p bytes off", (misalignment) => {
    const { floats } = widenAll("float16", misalignment);
    const wrong = Array.from(floats, (value, half) => ({ value, half })).filter(
      ({ value, half }) => !Object.is(value, float16Value(half)),
    );
    expect(wrong).toEqual([]);
  });

  test.each([0, 1])("bfloat16: all 65536 values are the upper half, %p bytes off", (misalignment) => {
    const { bits } = widenAll("bfloat16", misalignment);
    expect(bits.every((word, half) => word === half * 65536)).toBe(true);
  });

  test("float16 keeps the payload of a NaN", () => {
    expect(widenAll("float16", 0).bits[0xfe01]).toBe(0xffc02000);
  });

  test("begins where it is told to, and touches nothing else", () => {
    const output = new Float32Array(6).fill(-1);
    const input = Uint16Array.of(0x3f80, 0x4000, 0x4040, 0x4080);
    copyInto(new Uint8Array(input.buffer), "bfloat16", new Uint8Array(output.buffer), "float32")(1, 3, 2);
    expect([...output]).toEqual([-1, -1, -1, 2, 3, -1]);
  });
});

describe("rounding to float16", () => {
  const numbers = Array.from({ length: 0x7c00 }, (_, half) => half);

  test("every float16 stays what it is, infinity and both zeros too", () => {
    const halves = [...numbers, 0x7c00];
    expect(halves.filter((half) => nearestFloat16(float16Value(half)) !== half)).toEqual([]);
    expect(halves.filter((half) => nearestFloat16(-float16Value(half)) !== (half | 0x8000))).toEqual([]);
    expect(nearestFloat16(NaN) & 0x7c00).toBe(0x7c00);
    expect(nearestFloat16(NaN) & 0x3ff).not.toBe(0);
  });

  test("between two of them the nearer one, in the middle the even one", () => {
    const wrong = numbers.slice(0, -1).filter((half) => {
      const [lower, upper] = [float16Value(half), float16Value(half + 1)];
      const middle = (lower + upper) / 2;
      const nearest = [lower + (upper - lower) * 0.49, middle, lower + (upper - lower) * 0.51].map(nearestFloat16);
      return String(nearest) !== String([half, half + (half % 2), half + 1]);
    });
    expect(wrong).toEqual([]);
  });

  test.each([
    [65519, 0x7bff],
    [65520, 0x7c00],
    [1e30, 0x7c00],
    [-1e30, 0xfc00],
    [2 ** -26, 0],
  ])("%p", (number, half) => expect(nearestFloat16(number)).toBe(half));
});

test("equal types are copied byte for byte", () => {
  const output = new Uint8Array(12);
  copyInto(
    Uint8Array.from({ length: 12 }, (_, i) => i),
    "float32",
    output,
    "float32",
  )(1, 0, 2);
  expect([...output]).toEqual([4, 5, 6, 7, 8, 9, 10, 11, 0, 0, 0, 0]);
});

test.each([
  ["float16", "float32", true],
  ["bfloat16", "float32", true],
  ["int64", "int64", true],
  ["float32", "float16", false],
  ["int8", "float32", false],
] as const)("isConvertible(%p, %p) is %p", (from, to, expected) => {
  expect(isConvertible(from, to)).toBe(expected);
});
