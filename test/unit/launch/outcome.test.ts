import { describe, expect, test } from "@jest/globals";
import type { RankExit } from "../../../src/launch/job.ts";
import { describeExit, exitCodeOf, findRootCause } from "../../../src/launch/outcome.ts";

function exit(rank: number, how: Partial<RankExit>): RankExit {
  return { rank, host: "hosta", pid: 100 + rank, code: null, signal: null, atMs: 1000, onRequest: false, ...how };
}

describe("the root cause", () => {
  test.each<[what: string, exits: RankExit[], rank: number | undefined]>([
    ["none, when all end well", [exit(1, { code: 0 }), exit(0, { code: 0 })], undefined],
    ["none, when they were told to end", [exit(0, { signal: "SIGTERM", onRequest: true })], undefined],
    ["the first to fail, not the lowest", [exit(0, { code: 0 }), exit(2, { code: 3 }), exit(1, { code: 4 })], 2],
    ["a death by signal", [exit(1, { signal: "SIGKILL" }), exit(0, { code: 1 })], 1],
    ["a death by signal that was noticed a moment later", [exit(0, { code: 1 }), exit(1, { signal: "SIGKILL" })], 1],
    ["not a death by signal much later", [exit(0, { code: 1 }), exit(1, { signal: "SIGKILL", atMs: 1101 })], 0],
    ["not a death that was asked for", [exit(0, { code: 1 }), exit(1, { signal: "SIGTERM", onRequest: true })], 0],
  ])("%s", (_what, exits, rank) => {
    expect(findRootCause(exits)?.rank).toBe(rank);
  });
});

test("exit codes are those of a shell", () => {
  const codes = [exit(0, { code: 7 }), exit(0, { signal: "SIGKILL" }), exit(0, { signal: "SIGSEGV" })].map(exitCodeOf);
  expect(codes).toEqual([7, 137, 139]);
});

test("an exit is described with mpirun's words", () => {
  expect(describeExit(exit(1, { code: 7 }))).toBe("process rank 1 with PID 101 on host hosta exited with exit code 7");
  expect(describeExit(exit(2, { signal: "SIGKILL" }))).toBe(
    "process rank 2 with PID 102 on host hosta exited on signal 9 (Killed)",
  );
  expect(describeExit(exit(1, { signal: "SIGKILL", stoppedMs: 1600 }))).toBe(
    "process rank 1 with PID 101 on host hosta was stopped (as SIGSTOP does) for 1600 ms while the others waited for it to join, and was killed",
  );
  expect(describeExit(exit(0, { signal: "SIGSTKFLT" }))).toBe(
    "process rank 0 with PID 100 on host hosta exited on signal 16 (SIGSTKFLT)",
  );
});
