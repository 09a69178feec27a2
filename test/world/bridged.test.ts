/** SHARDRUN_COLLECTIVES=grpc on real ranks: the same answers and the same ends, with nothing open but rank 0's coordinator. */
import { join } from "node:path";
import { describe, expect, test } from "@jest/globals";
import { runNode, runShardrun } from "../support/run-shardrun.ts";

const GENERATE = join(import.meta.dirname, "../../scripts/generate.mjs");
const MEASURE = join(import.meta.dirname, "../../scripts/measure-failures.mjs");
const environment = { SHARDRUN_COLLECTIVES: "grpc" };

test.each([2, 3])("%i ranks give one rank's answer", async (numRanks) => {
  const args = ["-np", String(numRanks), "--oversubscribe", process.execPath, GENERATE];
  const several = await runShardrun(args, { environment });
  const one = await runNode([GENERATE]);
  expect(several).toEqual({ exitCode: 0, stdout: one.stdout, stderr: "" });
});

describe("whatever fails, everything ends", () => {
  const killed = (rank: number) =>
    `shardrun: process rank ${rank} with PID N on host H exited on signal 9 (Killed); the other ranks were ended.`;
  test.each([
    ["SIGKILL of rank 0, generating", 137, killed(0)],
    ["SIGKILL of rank 1, generating", 137, killed(1)],
    ["SIGKILL of rank 1, idle", 137, killed(1)],
    ["SIGSTOP of rank 0, generating", 137, killed(0)],
    ["SIGSTOP of rank 1, generating", 137, killed(1)],
    ["rank 0 exits with 0, generating", 0, ""],
  ])("%s", async (name, exit, lastLine) => {
    const { stdout } = await runNode([MEASURE, "--json", "--case", name], { environment });
    const { stderr, ...result } = JSON.parse(stdout) as { stderr: string; elapsedMs: number };
    expect(result).toMatchObject({ exit, left: [], sharedMemory: [] });
    expect(result.elapsedMs).toBeLessThan(10_000);
    const said = stderr.trimEnd().split("\n").at(-1)!;
    expect(said.replace(/PID \d+ on host \S+/, "PID N on host H")).toBe(lastLine);
  });
});
