import { expect, test } from "@jest/globals";
import { checkLoadOptions, type LoadOptions } from "../../../src/api/load.ts";
import { UsageError } from "../../../src/errors.ts";

test("every option may be left out or undefined", () => {
  expect(() => checkLoadOptions("model", {})).not.toThrow();
  expect(() => checkLoadOptions("model", { device: undefined, maxContext: undefined })).not.toThrow();
});

test.each<LoadOptions>([
  { device: "cpu" },
  { device: "auto" },
  { tensorParallel: true },
  { tensorParallel: false },
  { tensorParallel: 3 },
  { computeType: "float32" },
  { computeType: "default" },
  { computeType: "int8" },
  { computeType: "int4", blockSize: 64 },
  { intraThreads: 0 },
  { intraThreads: "auto" },
  { maxContext: 1 },
  { interThreads: 1 },
  { verify: true },
  { profile: true },
  { cache: false },
  { cacheLimit: 0 },
])("%j is accepted", (options) => {
  expect(() => checkLoadOptions("model", options)).not.toThrow();
});

test.each<[Record<string, unknown>, string]>([
  [{ device: "cuda" }, 'device is "cuda", but must be "cpu" or "auto".'],
  [{ tensorParallel: 0 }, "tensorParallel is 0, but must be true, false or the number of ranks."],
  [{ tensorParallel: 1.5 }, "tensorParallel is 1.5, but must be true, false or the number of ranks."],
  [{ interThreads: 2 }, "interThreads is 2, but must be 1: several workers are not there yet."],
  [{ computeType: "int16" }, 'computeType is "int16", but must be "default", "float32", "int8" or "int4".'],
  [{ blockSize: 16 }, "blockSize is 16, but must be 32, 64, 128 or 256."],
  [{ intraThreads: -1 }, 'intraThreads is -1, but must be a whole number of 0 or more, or "auto".'],
  [{ maxContext: 0 }, "maxContext is 0, but must be a whole number of 1 or more."],
  [{ verify: 1 }, "verify is 1, but must be true or false."],
  [{ cache: "no" }, 'cache is "no", but must be true or false.'],
  [{ cacheLimit: -1 }, "cacheLimit is -1, but must be a whole number of bytes, 0 or more."],
  [
    { toString: 1 },
    'There is no load option "toString": the options are device, tensorParallel, interThreads, computeType, blockSize, intraThreads, maxContext, verify, profile, cache, cacheLimit.',
  ],
])("%j is refused", (options, message) => {
  expect(() => checkLoadOptions("model", options as LoadOptions)).toThrow(new UsageError(message));
});

test("a path that is no text is refused", () => {
  expect(() => checkLoadOptions(undefined as unknown as string, {})).toThrow(
    new UsageError("The model is undefined, but must be the path of its directory."),
  );
});
