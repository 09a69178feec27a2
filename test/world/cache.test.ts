/** The cache between processes: several at once, one that is killed while it makes an entry, one that uses what another would remove. */
import { afterEach, beforeEach, expect, test } from "@jest/globals";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { native } from "../../src/collective/native.ts";
import { prune } from "../../src/shards/cache-eviction.ts";
import { useTemporaryDirectory } from "../support/temporary-directory.ts";

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
