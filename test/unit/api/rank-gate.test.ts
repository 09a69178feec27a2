import { inspect } from "node:util";
import { expect, test } from "@jest/globals";
import { gateResult, gateStream } from "../../../src/api/rank-gate.ts";
import { RankGateError } from "../../../src/errors.ts";

const MESSAGE =
  "The result of generateBatch was read on rank 2, but only rank 0 holds it. " +
  "Wrap the code that uses it in: if (MpiInfo.getCurRank() === 0) { ... }";
const result = gateResult<{ readonly scores: readonly number[] }[]>(2, "generateBatch");

test.each<[string, () => unknown]>([
  ["a property", () => result.length],
  ["an element", () => result[0]],
  ["iteration", () => [...result]],
  ["destructuring", () => (([first]) => first)(result)],
  ["in", () => "length" in result],
  ["its keys", () => Object.keys(result)],
  ["its own properties", () => Object.hasOwn(result, "length")],
  ["JSON", () => JSON.stringify(result)],
  ["console.log", () => inspect(result)],
  ["writing", () => (result[0] = { scores: [] })],
])("reading by %s is refused", (_, read) => {
  let thrown: unknown;
  try {
    read();
  } catch (error) {
    thrown = error;
  }
  expect(thrown).toBeInstanceOf(RankGateError);
  expect(thrown).toMatchObject({ code: "ERR_SHARDRUN_RANK_GATE", rank: 2, message: MESSAGE });
});

test("awaiting and passing on is no reading", async () => {
  expect((await Promise.resolve(result)) === result).toBe(true);
  const pass = async () => Promise.resolve(result);
  expect((await pass()) === result).toBe(true);
});

test("a stream refuses its first next()", async () => {
  await expect(gateStream(1, "generateTokens").next()).rejects.toThrow(
    "The result of generateTokens was read on rank 1, but only rank 0 holds it. " +
      "Wrap the code that uses it in: if (MpiInfo.getCurRank() === 0) { ... }",
  );
});

test("a stream that nobody reads is closed without a word", async () => {
  expect(await gateStream(1, "generateTokens").return()).toEqual({ done: true, value: undefined });
});
