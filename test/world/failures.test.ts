/**
 * Whatever fails, everything ends: quickly, with the exit code of what failed first and a message that names it, and nothing is
 * left over. Each case is one real run by scripts/measure-failures.mjs, which also prints the table of docs/failures.md.
 */
import { cpSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "@jest/globals";
import { runNode, runShardrun } from "../support/run-shardrun.ts";
import { useTemporaryDirectory } from "../support/temporary-directory.ts";

const ROOT = join(import.meta.dirname, "../..");
const MEASURE = join(ROOT, "scripts/measure-failures.mjs");
const LOST_RANK = join(import.meta.dirname, "scripts/lost-rank.mjs");
const OWN_MODELS = join(import.meta.dirname, "scripts/own-models.mjs");
const DEMO_MODEL = join(ROOT, "models/demo-stories");
const directory = useTemporaryDirectory();
/** The promise is 2 s; the tests of a busy machine are patient. */
const LIMIT_MS = 10_000;

interface Failure {
  /** The launcher's exit code, or the signal that ended it. */
  readonly exit: number | string;
  readonly elapsedMs: number;
  /** Processes that had to be killed by the measurement. */
  readonly left: readonly string[];
  readonly sharedMemory: readonly string[];
  /** What shardrun said, numbers that differ from run to run replaced. */
  readonly said: readonly string[];
}

async function fail(name: string): Promise<Failure> {
  const { stdout, stderr } = await runNode([MEASURE, "--json", "--case", name]);
  expect(stderr).toBe("");
  const result = JSON.parse(stdout) as Omit<Failure, "said"> & { stderr: string };
  const said = result.stderr
    .replaceAll(/PID \d+/g, "PID N")
    .replaceAll(/\d+ ms/g, "N ms")
    .replaceAll(hostname(), "HOST")
    .split("\n")
    .filter((line) => /^(shardrun|RendezvousError): /.test(line));
  return { ...result, said };
}

function expectNothingLeft({ elapsedMs, left, sharedMemory }: Failure): void {
  expect(left).toEqual([]);
  expect(sharedMemory).toEqual([]);
  expect(elapsedMs).toBeLessThan(LIMIT_MS);
}

const endedBy = (rank: number, how: string) =>
  `shardrun: process rank ${rank} with PID N on host HOST exited ${how}; the other ranks were ended.`;

const moments = ["generating", "idle", "loading", "blocked"].flatMap((moment) =>
  [0, 1].map((rank) => [rank, moment] as const),
);

describe("a killed rank", () => {
  const cases = [...moments, [0, "joining"], [1, "joining"]] as const;
  test.each(cases)("SIGKILL of rank %i, %s", async (rank, moment) => {
    const failure = await fail(`SIGKILL of rank ${rank}, ${moment}`);
    expectNothingLeft(failure);
    expect(failure.exit).toBe(137);
    expect(failure.said.at(-1)).toBe(endedBy(rank, "on signal 9 (Killed)"));
  });
});

describe("a stopped rank is killed, and the user is told why", () => {
  test.each(moments)("SIGSTOP of rank %i, %s", async (rank, moment) => {
    const failure = await fail(`SIGSTOP of rank ${rank}, ${moment}`);
    expectNothingLeft(failure);
    expect(failure.exit).toBe(137);
    expect(failure.said).toContain(
      `shardrun: rank ${rank} (HOST, PID N) had not answered for N ms and was killed by rank ${1 - rank}.`,
    );
    expect(failure.said.at(-1)).toBe(endedBy(rank, "on signal 9 (Killed)"));
  });
});

describe("a lost launcher", () => {
  test("SIGKILL of the agent", async () => {
    const failure = await fail("SIGKILL of the agent");
    expectNothingLeft(failure);
    expect(failure.exit).toBe(1);
    expect(failure.said.at(-1)).toBe(
      "shardrun: the agent of host HOST with PID N exited on signal 9 (Killed) before its ranks had ended; they were ended.",
    );
  });

  test.each(["SIGKILL of the launcher", "SIGKILL of launcher and agent", "SIGKILL of launcher and agent, blocked"])(
    "%s",
    async (name) => {
      const failure = await fail(name);
      expectNothingLeft(failure);
      expect(failure.exit).toBe("SIGKILL");
    },
  );
});

describe("a script that ends early", () => {
  test.each([
    ["rank 0 throws", 0, 1],
    ["rank 0 leaves a rejection unhandled, generating", 0, 1],
    ["rank 0 exits with 3 before loading", 0, 3],
    ["rank 0 exits with 3 after loading", 0, 3],
    ["rank 0 exits with 3, generating", 0, 3],
    ["rank 1 throws", 1, 1],
    ["rank 1 exits with 3", 1, 3],
  ])("%s", async (name, rank, exitCode) => {
    const failure = await fail(name);
    expectNothingLeft(failure);
    expect(failure.exit).toBe(exitCode);
    expect(failure.said.at(-1)).toBe(endedBy(rank, `with exit code ${exitCode}`));
  });

  test.each([
    "rank 0 exits with 0 before loading",
    "rank 0 exits with 0 after loading",
    "rank 0 exits with 0, generating",
    "rank 1 exits with 0 at once",
  ])("%s, which is no failure", async (name) => {
    const failure = await fail(name);
    expectNothingLeft(failure);
    expect(failure.exit).toBe(0);
    expect(failure.said).toEqual([]);
  });
});

test.each([0, 1])("an installation of which a file is missing, on rank %i", async (rank) => {
  const broken = join(directory, `broken-${rank}`);
  cpSync(join(ROOT, "dist"), join(broken, "dist"), { recursive: true });
  cpSync(join(ROOT, "package.json"), join(broken, "package.json"));
  symlinkSync(join(ROOT, "node_modules"), join(broken, "node_modules"));
  rmSync(join(broken, "dist/execute/leader.js"));
  const script = join(broken, "script.mjs");
  const places = [0, 1].map((each) => (each === rank ? broken : ROOT));
  writeFileSync(
    script,
    `const { Generator, MpiInfo } = await import(${JSON.stringify(places)}[process.env.SHARDRUN_RANK] + "/dist/index.js");
     if (MpiInfo.getCurRank() === 0) await Generator.load(${JSON.stringify(DEMO_MODEL)});`,
  );
  const { exitCode, stderr } = await runShardrun(["-np", "2", "--oversubscribe", process.execPath, script]);
  expect(exitCode).toBe(1);
  expect(stderr).toContain(
    `shardrun: rank ${rank} (${hostname()}): shardrun could not be loaded, install it anew: Cannot find module`,
  );
  expect(stderr.trim().split("\n").at(-1)).toMatch(`shardrun: process rank ${rank} with PID`);
});

test("a rank with a model of its own goes on after rank 0 has ended", async () => {
  const run = await runShardrun(["-np", "2", "--oversubscribe", process.execPath, OWN_MODELS, DEMO_MODEL]);
  expect(run).toEqual({ exitCode: 0, stdout: "1\n", stderr: "" });
});

test("a rank that never imports shardrun is named after --start-timeout", async () => {
  const failure = await fail("rank 1 never imports shardrun (--start-timeout 1)");
  expectNothingLeft(failure);
  expect(failure.exit).toBe(1);
  expect(failure.said).toEqual([
    "RendezvousError: Rendezvous timed out after N ms on rank 0 (HOST): 1 of 2 ranks joined; missing: rank 1. " +
      "The missing ranks may have ended, see their output, or need more time: SHARDRUN_START_TIMEOUT_MS.",
    endedBy(0, "with exit code 1"),
  ]);
});

/** Which of these comes first depends on who notices first: the broken connection, the missing heartbeats or the agent. */
const LOSSES = [
  /^\w+ failed after \d+ ms on rank 0 \(\S+\): the connection to rank 1 \(\S+, shm\) ended while waiting for "[\w. ]+".* Look at the output of rank 1, which may have ended or crashed\.$/,
  /^(The ranks stopped working together: )?Rank 1 \(\S+, PID \d+\) was lost: (it stopped answering|its connection closed), \d+ ms after its last sign of life\.$/,
  /^The process rank 1 with PID \d+ on host \S+ exited on signal 9 \(Killed\)\.$/,
  /^The ranks stopped working together: \w+ failed after \d+ ms on rank 0 .* ended or crashed\.$/,
];

test.each(["SIGKILL", "SIGSTOP"])(
  "a script without a launcher sees which rank %s took, and can load again",
  async (signal) => {
    const { exitCode, stdout } = await runNode([LOST_RANK, signal]);
    expect(exitCode).toBe(0);
    const { seen, numTokens } = JSON.parse(stdout) as {
      seen: readonly { readonly rank: number; readonly message: string }[];
      numTokens: number;
    };
    expect(seen).toHaveLength(2);
    for (const { rank, message } of seen) {
      expect(rank).toBe(1);
      expect({ message, isKnown: LOSSES.some((loss) => loss.test(message)) }).toEqual({ message, isKnown: true });
    }
    expect(numTokens).toBe(100);
  },
);

test("every case that can be measured is tested", async () => {
  const { stdout } = await runNode([MEASURE, "--list"]);
  // 10 kills, 8 stops, 4 losses of the launcher, 11 ends of scripts, 1 rank that never comes
  expect(stdout.trim().split("\n")).toHaveLength(34);
});
