/** However a run ends, nothing of it is left: signals to the launcher; kill -9 of a rank, of the agent, of the launcher. */
import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, test } from "@jest/globals";
import { join } from "node:path";
import { type LauncherRun, startLauncher, TWO_RANKS } from "../support/launcher.ts";
import { useTemporaryDirectory } from "../support/temporary-directory.ts";

const directory = useTemporaryDirectory();
const HOST = hostname();
/** What the failing run may take to clear up here, where other tests run too; it is built for 2 s. */
const LIMIT_MS = 10_000;
const AGENT = "launch/agent.js";

/** Two ranks that never end and ignore SIGTERM, each with a child, and a grandchild that has left its parent. */
async function startStubborn(): Promise<LauncherRun> {
  const script = 'trap "" TERM; sleep 600 & (sleep 601 &) ; echo ready; sleep 602; sleep 603';
  const run = startLauncher([...TWO_RANKS, "sh", "-c", script]);
  await run.waitForOutput("ready\n", 2);
  while (run.processes().length < 11) await delay(5); // launcher, agent, watchdog, and four of each rank
  return run;
}

/** The pids of the ranks' shells. */
function rankPids(run: LauncherRun): number[] {
  return run.processes().flatMap(({ pid, command }) => (/^sh -c (trap|while)/.test(command) ? [pid] : []));
}

/** The kernel's letter for what a process does: "T" is stopped. */
function stateOf(pid: number): string | undefined {
  return readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)![0];
}

describe("kill -9", () => {
  test("of a rank: the others are ended, the message names it", async () => {
    const run = await startStubborn();
    const pid = rankPids(run)[1]!;
    process.kill(pid, "SIGKILL");
    const { end, stderr } = await run.result;
    expect(end).toBe(137);
    expect(stderr).toMatch(
      new RegExp(
        `^shardrun: process rank [01] with PID ${pid} on host ${HOST} exited on signal 9 \\(Killed\\); the other ranks were ended\\.\n$`,
      ),
    );
    expect(run.processes()).toEqual([]);
  });

  test("of the agent: the launcher ends its ranks and says so", async () => {
    const run = await startStubborn();
    const agent = run.pidOf(AGENT);
    process.kill(agent, "SIGKILL");
    expect(await run.result).toMatchObject({
      end: 1,
      stderr:
        `shardrun: the agent of host ${HOST} with PID ${agent} exited on signal 9 (Killed) before its ranks had ended; ` +
        "they were ended.\n",
    });
    expect(await run.leftAfter(LIMIT_MS)).toEqual([]); // the watchdog may be a moment behind
  });

  test("of the launcher: the agent ends the ranks", async () => {
    const run = await startStubborn();
    run.child.kill("SIGKILL");
    expect(await run.leftAfter(LIMIT_MS)).toEqual([]);
  });

  test("of launcher and agent at once: the watchdog ends the ranks", async () => {
    const run = await startStubborn();
    process.kill(run.pidOf(AGENT), "SIGKILL");
    run.child.kill("SIGKILL");
    expect(await run.leftAfter(LIMIT_MS)).toEqual([]);
  });

  test("of the watchdog alone: nothing happens", async () => {
    const run = startLauncher([...TWO_RANKS, "sh", "-c", "echo ready; sleep 1"]);
    await run.waitForOutput("ready\n", 2);
    process.kill(run.pidOf("shardrun-watchdog"), "SIGKILL");
    expect(await run.result).toMatchObject({ end: 0, stderr: "" });
  });
});

test("a rank sees its agent's death on the descriptor that it inherits", async () => {
  const file = join(directory, "seen");
  // Nothing ends this rank from outside: its group's SIGKILL would come from the agent, the watchdog and the launcher.
  const script = 'setsid sh -c "echo ready; cat <&$SHARDRUN_AGENT_FD; echo gone >$0" "$0"';
  const run = startLauncher(["-np", "1", "sh", "-c", `${script} & wait`, file]);
  await run.waitForOutput("ready\n");
  process.kill(run.pidOf(AGENT), "SIGKILL");
  await run.result;
  expect(await run.leftAfter(LIMIT_MS)).toEqual([]);
  expect(readFileSync(file, "utf8")).toBe("gone\n");
});

describe("a signal to the launcher", () => {
  test.each(["SIGINT", "SIGTERM", "SIGHUP"] as const)("%s lets the ranks end in their way", async (signal) => {
    const script = 'trap "echo bye; exit 0" TERM; sleep 60 & echo ready; wait';
    const run = startLauncher([...TWO_RANKS, "sh", "-c", script]);
    await run.waitForOutput("ready\n", 2);
    run.child.kill(signal);
    expect(await run.result).toMatchObject({
      end: 1,
      stdout: "ready\nready\nbye\nbye\n",
      stderr: `shardrun: ${signal} received: the ranks were ended.\n`,
    });
    expect(run.processes()).toEqual([]);
  });

  test("leaves time to a rank that needs it, although the others end at once", async () => {
    const script =
      'trap "sleep 1.2; echo drained; exit 0" TERM; [ $RANK = 1 ] && trap - TERM; sleep 60 & echo ready; wait';
    const run = startLauncher([...TWO_RANKS, "sh", "-c", script]);
    await run.waitForOutput("ready\n", 2);
    run.child.kill("SIGTERM");
    expect(await run.result).toMatchObject({ end: 1, stdout: "ready\nready\ndrained\n" });
  });

  test("twice ends ranks at once that will not end", async () => {
    const run = await startStubborn();
    run.child.kill("SIGINT");
    const startMs = performance.now();
    run.child.kill("SIGTERM");
    expect(await run.result).toMatchObject({ end: 1 });
    expect(performance.now() - startMs).toBeLessThan(4000); // once would take 5 s
    expect(run.processes()).toEqual([]);
  });

  test.each(["USR1", "USR2"])("SIG%s is handed on to every rank", async (signal) => {
    const script = `trap "echo got; exit 0" ${signal}; echo ready; while :; do sleep 0.05; done`;
    const run = startLauncher([...TWO_RANKS, "sh", "-c", script]);
    await run.waitForOutput("ready\n", 2);
    run.child.kill(`SIG${signal}` as NodeJS.Signals);
    expect(await run.result).toMatchObject({ end: 0, stdout: "ready\nready\ngot\ngot\n" });
  });

  test("SIGTSTP stops ranks and launcher, SIGCONT continues them", async () => {
    const run = startLauncher(["-np", "1", "sh", "-c", "while :; do echo tick; sleep 0.02; done"]);
    await run.waitForOutput("tick\n", 3);
    run.child.kill("SIGTSTP");
    const launcher = run.child.pid!;
    while (stateOf(launcher) !== "T") await delay(5);
    const [rank = 0] = rankPids(run);
    while (stateOf(rank) !== "T") await delay(5);
    run.child.kill("SIGCONT");
    while (stateOf(rank) === "T") await delay(5);
    expect(stateOf(launcher)).not.toBe("T");
    run.child.kill("SIGTERM");
    expect(await run.result).toMatchObject({ end: 1 });
  });
});

describe("a rank that is stopped before it has joined", () => {
  const FOREVER = join(import.meta.dirname, "scripts/forever.mjs");

  test.each([0, 1])("rank %i is killed while the other waits for it", async (rank) => {
    const script = `[ $RANK = ${rank} ] && { echo $$; kill -STOP $$; }; exec "$@"`;
    const run = startLauncher([...TWO_RANKS, "sh", "-c", script, "sh", process.execPath, FOREVER]);
    const { end, stdout, stderr } = await run.result;
    expect({ end, stderr: stderr.replace(/\d+ ms/, "N ms") }).toEqual({
      end: 137,
      stderr:
        `shardrun: process rank ${rank} with PID ${stdout.trim()} on host ${HOST} was stopped (as SIGSTOP does) for N ms ` +
        "while the others waited for it to join, and was killed; the other ranks were ended.\n",
    });
    expect(run.processes()).toEqual([]);
  });

  test("a program that nobody waits for may be stopped, and go on", async () => {
    const file = join(directory, "stopped");
    const script = `[ $RANK = 1 ] && { echo $$ > ${file}; kill -STOP $$; echo went on; exit; }; sleep 3; kill -CONT $(cat ${file})`;
    const run = startLauncher([...TWO_RANKS, "sh", "-c", script]);
    expect(await run.result).toMatchObject({ end: 0, stdout: "went on\n", stderr: "" });
  });
});
