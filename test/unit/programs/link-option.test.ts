/** --link: networks as people describe them. */
import { expect, test } from "@jest/globals";
import { UsageError } from "../../../src/errors.ts";
import { readLink } from "../../../src/programs/link-option.ts";

test.each([
  ["1Gbit,0.2ms", 125e6, 0.2e-3],
  ["100Mbit, 50us", 12.5e6, 50e-6],
  ["2.5gbit,1s", 312.5e6, 1],
  ["800bit,0ms", 100, 0],
])("%s", (text, bytesPerSecond, latencySeconds) => {
  const link = readLink(text);
  expect(link.bytesPerSecond).toBeCloseTo(bytesPerSecond, 6);
  expect(link.latencySeconds).toBeCloseTo(latencySeconds, 12);
});

test.each(["", "1Gbit", "0.2ms", "1Gbit,0.2", "1GB,0.2ms", "0Gbit,1ms", "1.2.3Gbit,1ms", "-1Gbit,1ms"])(
  "%j is refused",
  (text) => {
    const message = `--link expects a rate and the time of a small message one way, like 1Gbit,0.2ms, received "${text}".`;
    expect(() => readLink(text)).toThrow(new UsageError(message));
  },
);
