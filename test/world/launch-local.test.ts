/** A plain node process that starts its own followers: they serve it, and end with it however it ends. */
import { writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { describe, expect, test } from "@jest/globals";
import { LauncherRun } from "../support/launcher.ts";
import { useTemporaryDirectory } from "../support/temporary-directory.ts";

const directory = useTemporaryDirectory();
const LOCAL = pathToFileURL(join(import.meta.dirname, "../../dist/launch/local.js")).href;
const FOLLOWER = join(directory, "follower.mjs");

/** Runs a leader's script that has `followers`; the followers' script is the other one. */
function startLeader(leader: string, follower: string): LauncherRun {
  writeFileSync(FOLLOWER, follower);
  const script = join(directory, "leader.mjs");
  writeFileSync(
    script,
    `import { startLocalFollowers } from ${JSON.stringify(LOCAL)};
     const followers = await startLocalFollowers({ worldSize: 3, entry: ${JSON.stringify(FOLLOWER)} });
     ${leader}`,
  );
  return new LauncherRun([process.execPath, script]);
}

const SERVE = 'console.log(`ready ${process.env.RANK}`); process.on("SIGTERM", () => {}); setInterval(() => {}, 1000);';

test("leader and followers agree on their world", async () => {
  const leader = `
    const { identity, coordinator, secret, runId } = followers.settings;
    console.log(JSON.stringify([identity, coordinator, Buffer.from(secret).toString("hex"), runId]));
    setTimeout(() => {}, 60_000);`;
  const follower = `${SERVE}
    const { SHARDRUN_COORDINATOR, SHARDRUN_SECRET, SHARDRUN_RUN_ID } = process.env;
    console.log(JSON.stringify([SHARDRUN_COORDINATOR, SHARDRUN_SECRET, SHARDRUN_RUN_ID]));`;
  const run = startLeader(leader, follower);
  await run.waitForOutput("\n", 5);
  run.child.kill("SIGTERM");
  const { stdout } = await run.result;
  expect(await run.leftAfter(10_000)).toEqual([]);
  const lines = stdout.split("\n").slice(0, -1);
  const [identity, ...shared] = JSON.parse(lines.find((line) => line.startsWith("[{"))!) as unknown[];
  expect(identity).toEqual({
    rank: 0,
    worldSize: 3,
    localRank: 0,
    localWorldSize: 3,
    host: hostname(),
    engine: "shardrun",
    source: "tensorParallel",
    worldSizeSource: "tensorParallel",
  });
  const others = lines.filter((line) => line.startsWith('["')).map((line) => JSON.parse(line) as unknown);
  expect(others).toEqual([shared, shared]);
  expect(lines.filter((line) => line.startsWith("ready")).sort()).toEqual(["ready 1", "ready 2"]);
});

describe("followers end with their leader", () => {
  test.each([
    ["that comes to its end", "await new Promise((resolve) => setTimeout(resolve, 1000));", 0],
    ["that closes them", 'await followers.close(); console.log("closed");', 0],
    ["that throws", 'await new Promise((resolve) => setTimeout(resolve, 500)); throw new Error("oops");', 1],
    [
      "that kills itself",
      'await new Promise((resolve) => setTimeout(resolve, 1000)); process.kill(process.pid, "SIGKILL");',
      "SIGKILL",
    ],
  ])("%s", async (_how, leader, end) => {
    const run = startLeader(leader, SERVE);
    expect((await run.result).end).toBe(end);
    expect(await run.leftAfter(10_000)).toEqual([]);
  });
});

describe("the leader learns", () => {
  const REPORT =
    "followers.failed.then(({ name, rank, message }) => { console.log(JSON.stringify([name, rank, message])); process.exit(); }); setTimeout(() => {}, 60_000);";

  async function reportOf(run: LauncherRun): Promise<unknown[]> {
    const line = (await run.result).stdout.split("\n").find((each) => each.startsWith("["));
    expect(await run.leftAfter(10_000)).toEqual([]);
    return JSON.parse(line!) as unknown[];
  }

  test("which follower has failed", async () => {
    const run = startLeader(REPORT, `${SERVE} if (process.env.RANK === "2") process.exit(3);`);
    const [name, rank, message] = await reportOf(run);
    expect([name, rank]).toEqual(["LaunchError", 2]);
    expect(message).toMatch(
      new RegExp(`^The process rank 2 with PID \\d+ on host ${hostname()} exited with exit code 3\\.$`),
    );
  });

  test("that their agent has died", async () => {
    const run = startLeader(REPORT, SERVE);
    await run.waitForOutput("ready", 2);
    const agent = run.pidOf("launch/agent.js");
    process.kill(agent, "SIGKILL");
    expect((await reportOf(run))[2]).toBe(
      `Rank 0 is alone: the agent of host ${hostname()} with PID ${agent} exited on signal 9 (Killed) before its ranks had ended; they were ended.`,
    );
  });
});
