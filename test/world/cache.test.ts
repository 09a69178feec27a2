/** The cache between processes, and as a user meets it: several at once, killed makers, second starts, listing and pruning. */
import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { native } from "../../src/collective/native.ts";
import { prune } from "../../src/shards/cache-eviction.ts";
import { runShardrun } from "../support/run-shardrun.ts";
import { useTemporaryDirectory } from "../support/temporary-directory.ts";
import { TINY_LLAMA } from "../support/write-checkpoint.ts";

const base = useTemporaryDirectory();
const SCRIPT = join(import.meta.dirname, "../support/cache-user.mjs");
const children: ChildProcess[] = [];
let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(base, "cache-"));
});

afterEach(() => children.splice(0).forEach((child) => child.kill("SIGKILL")));

interface Outcome {
  readonly wasMade: boolean;
  readonly maker: string;
  readonly pid: number;
}

function start(mode = ""): ChildProcess {
  const child = spawn(process.execPath, [SCRIPT, directory, mode], { stdio: ["ignore", "pipe", "inherit"] });
  children.push(child);
  return child;
}

/** The first line that it prints. */
async function readLine(child: ChildProcess): Promise<string> {
  const [data] = (await once(child.stdout!, "data")) as [Buffer];
  return data.toString();
}

const outcomeOf = async (child: ChildProcess): Promise<Outcome> => JSON.parse(await readLine(child)) as Outcome;

test("of three processes that want the same entry at once one makes it and all use it", async () => {
  const outcomes = await Promise.all([start(), start(), start()].map(outcomeOf));
  const makers = outcomes.filter(({ wasMade }) => wasMade);
  expect(makers).toHaveLength(1);
  expect(outcomes.map(({ maker }) => maker)).toEqual(outcomes.map(() => String(makers[0]!.pid)));
  expect(readdirSync(directory)).toEqual(["weights-aa"]);
});

test("when the process that makes it is killed, another takes over at once", async () => {
  const first = start("forever");
  expect(await readLine(first)).toBe("making\n");
  const second = outcomeOf(start());
  first.kill("SIGKILL");
  expect(await second).toMatchObject({ wasMade: true });
  expect(readdirSync(directory)).toEqual(["weights-aa"]);
});

test("an entry that a living process uses is not removed; when the process has been killed it is", async () => {
  const user = start("keep");
  await outcomeOf(user);
  expect(prune(directory, { maxBytes: 0 }, native().lockFile)).toEqual([]);
  expect(readdirSync(directory)).toEqual(["weights-aa"]);
  user.kill("SIGKILL");
  await once(user, "exit");
  expect(prune(directory, { maxBytes: 0 }, native().lockFile)).toHaveLength(1);
  expect(readdirSync(directory)).toEqual([]);
});

describe("shardrun", () => {
  /** The options of a bench of some milliseconds on two ranks, whose checkpoint is stored as bfloat16. */
  const bench = (): string[] => {
    const config = join(directory, "..", "tiny.json");
    writeFileSync(config, JSON.stringify(TINY_LLAMA));
    const sizes = ["--prompt-tokens", "4", "--new-tokens", "2", "--repeat", "1"];
    return ["bench", "-np", "2", "--oversubscribe", "--config", config, "--intra-threads", "1", ...sizes, "--json"];
  };

  const run = (...args: string[]) => runShardrun(args, { environment: { SHARDRUN_CACHE: directory } });

  async function runBench(...args: string[]): Promise<{ convertedBytesPerRank: number[]; stderr: string }> {
    const { exitCode, stdout, stderr } = await run(...bench(), ...args);
    expect({ exitCode, stderr: exitCode === 0 ? "" : stderr }).toEqual({ exitCode: 0, stderr: "" });
    return { ...(JSON.parse(stdout) as { convertedBytesPerRank: number[] }), stderr };
  }

  const kinds = (): string[] => readdirSync(directory).map((name) => name.split("-")[0]!);

  test("the second start converts nothing on any rank; --no-cache converts always and keeps nothing", async () => {
    const { convertedBytesPerRank } = await runBench("--no-cache");
    expect(Math.min(...convertedBytesPerRank)).toBeGreaterThan(0);
    expect(kinds()).toEqual(["checkpoint"]);
    expect((await runBench()).convertedBytesPerRank).toEqual(convertedBytesPerRank);
    expect(kinds().toSorted()).toEqual(["checkpoint", "weights", "weights"]);
    expect((await runBench()).convertedBytesPerRank).toEqual([0, 0]);
  });

  test("cache lists and prunes", async () => {
    await runBench();
    const listed = JSON.parse((await run("cache", "--json")).stdout) as {
      entries: { label: string; inUse: boolean }[];
    };
    expect(listed.entries.map(({ inUse }) => inUse)).toEqual([false, false, false]);
    expect(listed.entries.filter(({ label }) => / rank [01] of 2, float32$/.test(label))).toHaveLength(2);
    expect((await run("cache")).stdout.split("\n")).toHaveLength(7);
    expect((await run("cache", "prune")).stdout).toMatch(/^0 bytes removed, [\d.]+ KB left in /);
    expect((await run("cache", "prune", "--older-than", "1h")).stdout).toMatch(/^0 bytes removed/);
    const pruned = JSON.parse((await run("cache", "prune", "--all", "--json")).stdout) as {
      removed: unknown[];
      bytes: number;
    };
    expect(pruned).toMatchObject({ bytes: 0 });
    expect(pruned.removed).toHaveLength(3);
    expect(readdirSync(directory)).toEqual([]);
    expect((await run("cache")).stdout).toBe(`0 bytes of at most 32.0 GB in ${directory}\n`);
  });

  test.each([
    [["--all"], "--all belongs to shardrun cache prune: write prune before it."],
    [["prune", "--older-than", "soon"], '--older-than is "soon": expected a duration like 90s, 30m, 12h, 7d or 4w.'],
    [
      ["prune", "--to", "little"],
      '--to is "little": expected a size like 20GB, 500MB or 1.5GiB, or a number of bytes.',
    ],
    [["purge"], '"purge" belongs to no option of shardrun cache. shardrun cache --help shows all options.'],
  ])("cache %j is refused", async (args, message) => {
    expect(await run("cache", ...args)).toEqual({ exitCode: 1, stdout: "", stderr: `shardrun: ${message}\n` });
  });

  test("a limit that is no size is refused, from the option and from the environment", async () => {
    const limited = await run(...bench(), "-np", "1", "--cache-limit", "much");
    expect(limited.stderr).toContain('--cache-limit is "much": expected a size like 20GB');
    const environment = { SHARDRUN_CACHE: directory, SHARDRUN_CACHE_LIMIT: "much" };
    const { exitCode, stderr } = await runShardrun(["cache"], { environment });
    expect({ exitCode, stderr }).toEqual({
      exitCode: 1,
      stderr:
        'shardrun: SHARDRUN_CACHE_LIMIT is "much": expected a size like 20GB, 500MB or 1.5GiB, or a number of bytes.\n',
    });
  });
});
