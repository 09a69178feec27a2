import { availableParallelism } from "node:os";
import { expect, test } from "@jest/globals";
import { resolveIntraThreads } from "../../../src/execute/threads.ts";

const cores = availableParallelism();

test("a number is taken as it is, whatever the machine has", () => {
  expect(resolveIntraThreads(7, 2, 100)).toBe(7);
});

test("0 is OMP_NUM_THREADS where it is set", () => {
  expect(resolveIntraThreads(0, 3, 1)).toBe(3);
});

test("0 is otherwise CTranslate2's 4, or this rank's share of the cores if that is less", () => {
  expect(resolveIntraThreads(0, undefined, 1)).toBe(Math.min(4, cores));
  expect(resolveIntraThreads(0, undefined, cores)).toBe(1);
});

test('"auto" is this rank\'s share of the cores, at least one, whatever OMP_NUM_THREADS says', () => {
  expect(resolveIntraThreads("auto", 3, 1)).toBe(cores);
  expect(resolveIntraThreads("auto", undefined, 10 * cores)).toBe(1);
});
