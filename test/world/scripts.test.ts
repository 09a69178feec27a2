/** Scripts as users write them, good and bad, on two real ranks: test/world/scripts/scenario.mjs holds them by name. */
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import { TWO_RANKS } from "../support/launcher.ts";
import { runShardrun, type RunResult } from "../support/run-shardrun.ts";

const SCRIPT = join(import.meta.dirname, "scripts/scenario.mjs");
const GREEDY = "[403,411,415,263,414,47,325,269,263,403,468,369]";

const run = (scenario: string) => runShardrun([...TWO_RANKS, process.execPath, SCRIPT, scenario]);

/** What the ranks wrote, each line behind its rank. */
function linesOf({ stdout }: RunResult): string[] {
  return stdout.split("\n").filter(Boolean).toSorted();
}

const gated = (call: string) =>
  `The result of ${call} was read on rank 1, but only rank 0 holds it. ` +
  "Wrap the code that uses it in: if (MpiInfo.getCurRank() === 0) { ... }";

test.each([
  ["everything is guarded by the rank", "guard-everything", [`0: ${GREEDY}`]],
  ["the ranks call different things", "different-calls", [`0: ${GREEDY}`]],
  ["all ranks end at once", "exit-at-once", []],
  ["a follower's script blocks its event loop for 3 s", "follower-blocks", [`0: ${GREEDY}`]],
  ["rank 0 computes for 3 s before and between calls", "leader-computes", [`0: [${GREEDY},${GREEDY}]`]],
  ["a follower's script outlives rank 0's", "follower-goes-on", [`0: ${GREEDY}`, '1: "done"']],
  ["two models at once, one unloaded first", "two-models", [`0: ${GREEDY}`, `0: [${GREEDY},${GREEDY},${GREEDY}]`]],
  ["tensorParallel false: each rank has its own model and results", "not-parallel", [`0: ${GREEDY}`, `1: ${GREEDY}`]],
  [
    "a failed load, then a good one",
    "load-fails-first",
    [
      '0: ["ModelError","Model \\"/nonexistent\\" does not exist: expected a checkpoint directory or a GGUF file."]',
      `0: ${GREEDY}`,
    ],
  ],
  [
    "a group of 3 ranks in a world of 2",
    "wrong-group",
    [0, 1].map(
      (rank) =>
        `${rank}: ["UsageError","tensorParallel is 3, but the world has 2 ranks, and groups smaller than the world are ` +
        'not there yet: give true or 2."]',
    ),
  ],
  [
    "every reading on rank 1 is refused",
    "read-everything",
    ["encode", "forwardBatch", "generateBatch", "generateTokens", "scoreBatch", "statistics"].map(
      (call) => `1: ${JSON.stringify(["RankGateError", "ERR_SHARDRUN_RANK_GATE", gated(call)])}`,
    ),
  ],
])("%s", async (_, scenario, lines) => {
  const result = await run(scenario);
  expect({ exitCode: result.exitCode, stderr: result.stderr }).toEqual({ exitCode: 0, stderr: "" });
  expect(linesOf(result)).toEqual(lines);
});

test("a result that is read on rank 1 ends the run with advice", async () => {
  const { exitCode, stderr } = await run("do-not-guard");
  expect(exitCode).toBe(1);
  expect(stderr).toContain(`RankGateError: ${gated("generateBatch")}\n`);
  expect(stderr).toMatch(
    /\nshardrun: process rank 1 with PID \d+ on host \S+ exited with exit code 1; the other ranks were ended\.\n$/,
  );
});

test("an exception on a follower ends the run", async () => {
  const { exitCode, stderr } = await run("follower-throws");
  expect(exitCode).toBe(1);
  expect(stderr).toContain("Error: The script is wrong.\n");
  expect(stderr).toMatch(
    /\nshardrun: process rank 1 with PID \d+ on host \S+ exited with exit code 1; the other ranks were ended\.\n$/,
  );
});
