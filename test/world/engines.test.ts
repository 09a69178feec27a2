/** One script, one answer, whoever starts its ranks: shardrun, Open MPI, torchrun's or PMI's variables, or nobody. */
import { spawnSync } from "node:child_process";
import { randomBytes, randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { hostname, networkInterfaces } from "node:os";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "@jest/globals";
import { LauncherRun, TWO_RANKS } from "../support/launcher.ts";
import { runNode, runShardrun, type RunResult } from "../support/run-shardrun.ts";

const SCRIPTS = join(import.meta.dirname, "scripts");
const GREEDY = join(SCRIPTS, "greedy.mjs");
const MPIRUN = ["mpirun", "--allow-run-as-root", "--oversubscribe", "-np", "2"];
/** Debian's package openmpi-bin. */
const hasMpirun = spawnSync("mpirun", ["--version"]).status === 0;
const testWithMpirun = hasMpirun ? test : test.skip;

/** With IPv6 where this host has it. */
const LOOPBACKS = Object.values(networkInterfaces())
  .flatMap((list) => list ?? [])
  .map(({ address }) => address)
  .filter((address) => address === "127.0.0.1" || address === "::1");

interface Answer {
  readonly ids: readonly number[];
  readonly numRanks: number;
}

function readAnswer({ exitCode, stdout, stderr }: RunResult): Answer {
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
  return JSON.parse(stdout) as Answer;
}

/** Two plain processes that find each other by these variables. */
async function runPair(variablesOf: (rank: number) => Record<string, string>): Promise<Answer> {
  const ranks = await Promise.all([0, 1].map((rank) => runNode([GREEDY], { environment: variablesOf(rank) })));
  expect({ ...ranks[1] }).toEqual({ exitCode: 0, stdout: "", stderr: "" });
  return readAnswer(ranks[0]!);
}

let alone: Answer;
beforeAll(async () => {
  alone = readAnswer(await runNode([GREEDY]));
});

test("a process alone is a world of one", () => {
  expect(alone.numRanks).toBe(1);
  expect(alone.ids).toHaveLength(24);
});

test.each(["auto", "shm", "tcp"])("shardrun -np 2, collectives %s", async (collectives) => {
  const result = await runShardrun([...TWO_RANKS, process.execPath, GREEDY], {
    environment: { SHARDRUN_COLLECTIVES: collectives },
  });
  expect(readAnswer(result)).toEqual({ ids: alone.ids, numRanks: 2 });
});

test("ranks of different weights hold shares of that size, and give the same answer", async () => {
  const weights = ["-x", "SHARDRUN_RANK_WEIGHTS=3,1"];
  const result = await runShardrun([...TWO_RANKS, ...weights, process.execPath, join(SCRIPTS, "weights.mjs")]);
  const answer = readAnswer(result) as unknown as { ids: readonly number[]; weights: readonly [number, number] };
  expect(answer.ids).toEqual(alone.ids);
  expect(answer.weights[0] / answer.weights[1]).toBeGreaterThan(2);
});

test("torchrun's variables", async () => {
  const port = String(20_000 + Math.floor(Math.random() * 10_000));
  const answer = await runPair((rank) => ({
    RANK: String(rank),
    WORLD_SIZE: "2",
    LOCAL_RANK: String(rank),
    LOCAL_WORLD_SIZE: "2",
    MASTER_ADDR: "127.0.0.1",
    MASTER_PORT: port,
  }));
  expect(answer).toEqual({ ids: alone.ids, numRanks: 2 });
});

test.each(LOOPBACKS)("variables set by hand for two hosts, which meet at MASTER_ADDR=%s", async (masterAddress) => {
  const port = String(20_000 + Math.floor(Math.random() * 10_000));
  const secret = randomBytes(32).toString("hex");
  const answer = await runPair((rank) => ({
    RANK: String(rank),
    WORLD_SIZE: "2",
    LOCAL_WORLD_SIZE: "1",
    MASTER_ADDR: masterAddress, // one host plays both
    MASTER_PORT: port,
    SHARDRUN_HOST: `host${rank}`,
    SHARDRUN_SECRET: secret,
  }));
  expect(answer).toEqual({ ids: alone.ids, numRanks: 2 });
});

test("PMI's variables", async () => {
  const job = randomUUID();
  const answer = await runPair((rank) => ({ PMI_RANK: String(rank), PMI_SIZE: "2", PMI_JOBID: job }));
  expect(answer).toEqual({ ids: alone.ids, numRanks: 2 });
});

test("no launcher: tensorParallel 2 starts the other rank itself", async () => {
  expect(readAnswer(await runNode([GREEDY, '{ "tensorParallel": 2 }']))).toEqual({ ids: alone.ids, numRanks: 2 });
});

// Skipped without mpirun (apt-get install openmpi-bin).
describe("mpirun", () => {
  testWithMpirun.each(["auto", "tcp"])("mpirun -np 2, collectives %s", async (collectives) => {
    const run = new LauncherRun([...MPIRUN, "-x", `SHARDRUN_COLLECTIVES=${collectives}`, process.execPath, GREEDY]);
    const { end, stdout, stderr } = await run.result;
    expect({ end, stderr }).toEqual({ end: 0, stderr: "" });
    expect(JSON.parse(stdout)).toEqual({ ids: alone.ids, numRanks: 2 });
  });

  testWithMpirun.each([0, 1])("kill -9 of rank %i ends everything", async (rank) => {
    const run = new LauncherRun([...MPIRUN, process.execPath, join(SCRIPTS, "forever.mjs")]);
    await run.waitForOutput("generating");
    const ranks = run
      .processes()
      .filter(({ pid }) => readFileSync(`/proc/${pid}/environ`).includes(`_WORLD_RANK=${rank}\0`));
    expect(ranks).toHaveLength(1);
    process.kill(ranks[0]!.pid, "SIGKILL");
    const { end } = await run.result;
    expect([137, 1]).toContain(end); // 1 where mpirun sees the other rank's failure first
    expect(await run.leftAfter(5000)).toEqual([]);
  });
});

test("a rank whose peers never come says which variables it believed, and how to override them", async () => {
  const { exitCode, stdout, stderr } = await runNode([GREEDY], {
    environment: { SLURM_NTASKS: "2", SLURM_PROCID: "0", SHARDRUN_START_TIMEOUT_MS: "1000" },
  });
  expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: "" });
  expect(/^RendezvousError: (.*)$/m.exec(stderr)?.[1]?.replace(/after \d+ ms/, "after N ms")).toBe(
    `Rendezvous timed out after N ms on rank 0 (${hostname()}): 1 of 2 ranks joined; missing: rank 1. ` +
      "The missing ranks may have ended, see their output, or need more time: SHARDRUN_START_TIMEOUT_MS. " +
      "This process took itself for rank 0 of 2 because of SLURM_PROCID and SLURM_NTASKS: " +
      "to run it alone set SHARDRUN_WORLD_SIZE=1.",
  );
  const alone = await runNode([GREEDY], {
    environment: { SLURM_NTASKS: "2", SLURM_PROCID: "0", SHARDRUN_WORLD_SIZE: "1" },
  });
  expect(readAnswer(alone).numRanks).toBe(1);
});
