/** The failure matrix of docs/failures.md, each case twenty times: quick, nothing left, and always the same end. */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { describe, expect, test } from "@jest/globals";
import { runNode } from "../support/run-shardrun.ts";

const MEASURE = join(import.meta.dirname, "../../scripts/measure-failures.mjs");
const NUM_REPEATS = 20;
/** What docs/failures.md promises from the failure until nothing is left. */
const PROMISED_MS = 2000;
const LIMIT_MS = 600_000;

interface Failure {
  readonly exit: number | string;
  readonly elapsedMs: number;
  readonly left: readonly string[];
  readonly sharedMemory: readonly string[];
}

const cases = spawnSync(process.execPath, [MEASURE, "--list"], { encoding: "utf8" }).stdout.trim().split("\n");

describe(`each failure ${NUM_REPEATS} times`, () => {
  test.each(cases)(
    "%s",
    async (name) => {
      const args = [MEASURE, "--json", "--repeat", String(NUM_REPEATS), "--case", name];
      const { exitCode, stdout, stderr } = await runNode(args, { timeoutMs: LIMIT_MS });
      expect([exitCode, stderr]).toEqual([0, ""]);
      const failures = stdout
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line) as Failure);
      expect(failures.length).toBe(NUM_REPEATS);
      expect(failures.flatMap(({ left, sharedMemory }) => [...left, ...sharedMemory])).toEqual([]);
      expect([...new Set(failures.map(({ exit }) => exit))]).toEqual([failures[0]!.exit]);
      for (const { elapsedMs } of failures) expect(elapsedMs).toBeLessThan(PROMISED_MS);
    },
    LIMIT_MS,
  );
});
