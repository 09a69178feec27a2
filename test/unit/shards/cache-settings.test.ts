import { expect, test } from "@jest/globals";
import { UsageError } from "../../../src/errors.ts";
import { formatByteSize, parseByteSize, readCacheSettings } from "../../../src/shards/cache-settings.ts";

test.each([
  ["0", 0],
  ["123", 123],
  ["20GB", 20e9],
  ["1.5 GiB", 1.5 * 2 ** 30],
  ["500mb", 5e8],
  [" 1KB ", 1000],
])("%j is %i bytes", (text, bytes) => {
  expect(parseByteSize(text, "--cache-limit is")).toBe(bytes);
});

test.each(["", "GB", "-1", "1e9", "10 apples", "1,5GB"])("%j is refused", (text) => {
  expect(() => parseByteSize(text, "--cache-limit is")).toThrow(
    new UsageError(`--cache-limit is "${text}": expected a size like 20GB, 500MB or 1.5GiB, or a number of bytes.`),
  );
});

test.each([
  [0, "0 bytes"],
  [12_345, "12.3 KB"],
  [262_144_000, "262 MB"],
  [4_120_000_000, "4.12 GB"],
  [123_000_000_000, "123 GB"],
])("%i bytes are written %s", (bytes, text) => {
  expect(formatByteSize(bytes)).toBe(text);
});

test("what the caller asks for comes before the environment", () => {
  expect(readCacheSettings(5).limitBytes).toBe(5);
  expect(readCacheSettings().limitBytes).toBe(32e9);
});
