/**
 * Every way to lose a part of a run on three hosts, done for real on the test cluster: two ranks on each of hosta (the launcher's),
 * hostb and hostc. What comes out: how fast everything else ended, how, what was said, and what is left.
 */
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Cluster } from "./cluster.ts";
import { killAll, LauncherRun, type LiveProcess } from "./launcher.ts";
import { COMMAND } from "./run-shardrun.ts";

const SCRIPT = join(import.meta.dirname, "../world/scripts/failing.mjs");
const LIMIT_MS = 20_000;
const POLL_MS = 5;

export interface HostFailure {
  /** What the ranks do: a scenario of failing.mjs. */
  readonly scenario: string;
  readonly options?: readonly string[];
  /** What happens at the moment that the scenario announces: a cable is pulled, ... */
  readonly cut?: readonly [host: string, peer?: string];
  /** ... something is done to a process. */
  readonly act?: (cluster: Cluster) => void;
  /** How the first cause is named. */
  readonly cause: RegExp;
  /** mpirun's, or the signal that ended the launcher. */
  readonly end: number | NodeJS.Signals;
  /** From the event until nothing of the run is left on any host. */
  readonly limitMs: number;
}

export interface HostFailureResult {
  readonly elapsedMs: number;
  readonly end: number | NodeJS.Signals;
  readonly stderr: string;
  readonly left: readonly string[];
}

const isRank = ({ command }: LiveProcess): boolean =>
  command.endsWith(`${SCRIPT} generating`) && !command.includes(COMMAND);
const isAgent = ({ command }: LiveProcess): boolean => command.includes("/launch/agent.js");
const isLauncher = ({ command }: LiveProcess): boolean => command.includes(`${COMMAND} -np`);

/** sshd's own process of a session outlives a cut cable, until sshd notices that, too. */
function ourProcesses(cluster: Cluster, host: string): LiveProcess[] {
  return cluster.processes(host).filter(({ command }) => !command.startsWith("sshd: "));
}

function signal(cluster: Cluster, host: string, name: NodeJS.Signals, which: (each: LiveProcess) => boolean): void {
  const found = cluster.processes(host).find(which);
  if (found === undefined) throw new Error(`${host} runs only ${JSON.stringify(cluster.processes(host))}`);
  process.kill(found.pid, name);
}

/** Every way, by name. */
export const HOST_FAILURES: Readonly<Record<string, HostFailure>> = {
  "SIGKILL of a rank": {
    scenario: "generating",
    act: (cluster) => signal(cluster, "hostb", "SIGKILL", isRank),
    cause: /^shardrun: process rank [23] with PID \d+ on host hostb exited on signal 9 \(Killed\)/m,
    end: 137,
    limitMs: 2000,
  },
  "SIGKILL of rank 0": {
    scenario: "generating",
    act: (cluster) => signal(cluster, "hosta", "SIGKILL", isRank),
    cause: /^shardrun: process rank [01] with PID \d+ on host hosta exited on signal 9 \(Killed\)/m,
    end: 137,
    limitMs: 2000,
  },
  "SIGKILL of an agent": {
    scenario: "generating",
    act: (cluster) => signal(cluster, "hostb", "SIGKILL", isAgent),
    cause: /^shardrun: the connection to the agent of host hostb broke before its ranks had ended/m,
    end: 1,
    limitMs: 2000,
  },
  "SIGKILL of the launcher": {
    scenario: "generating",
    act: (cluster) => signal(cluster, "hosta", "SIGKILL", isLauncher),
    cause: /^$/,
    end: "SIGKILL",
    limitMs: 2000,
  },
  "SIGSTOP of a rank": {
    scenario: "generating",
    act: (cluster) => signal(cluster, "hostb", "SIGSTOP", isRank),
    cause: /^shardrun: rank [23] \(hostb, PID \d+\) had not answered for \d+ ms and was killed by rank [23]\.$/m,
    end: 137,
    limitMs: 2000,
  },
  "SIGSTOP of rank 0": {
    scenario: "generating",
    act: (cluster) => signal(cluster, "hosta", "SIGSTOP", isRank),
    cause: /^shardrun: rank [01] \(hosta, PID \d+\) had not answered for \d+ ms and was killed by rank [01]\.$/m,
    end: 137,
    limitMs: 2000,
  },
  "a host loses its power": {
    scenario: "generating",
    cut: ["hostb"],
    act: (cluster) => killAll(ourProcesses(cluster, "hostb")),
    cause: /^shardrun: the connection to the agent of host hostb broke before its ranks had ended/m,
    end: 1,
    limitMs: 3000,
  },
  "a host's cable is cut": {
    scenario: "generating",
    cut: ["hostb"],
    cause: /^shardrun: the connection to the agent of host hostb broke before its ranks had ended/m,
    end: 1,
    limitMs: 3000,
  },
  "the cable between two followers' hosts is cut": {
    scenario: "generating",
    cut: ["hostb", "hostc"],
    cause: /nothing has come through the network from the machine of rank [2-5] \(host[bc], tcp\) for \d+ ms/,
    end: 1,
    limitMs: 3000,
  },
  "rank 0 exits with 3": {
    scenario: "leader-exits-3-generating",
    cause: /^shardrun: process rank 0 with PID \d+ on host hosta exited with exit code 3/m,
    end: 3,
    limitMs: 2000,
  },
  "rank 0 throws": {
    scenario: "leader-throws",
    cause: /^shardrun: process rank 0 with PID \d+ on host hosta exited with exit code 1/m,
    end: 1,
    limitMs: 2000,
  },
  "followers never join (--start-timeout 1)": {
    scenario: "follower-never-imports",
    options: ["--start-timeout", "1"],
    cause: /1 of 6 ranks joined; missing: rank 1, rank 2, rank 3, rank 4, rank 5\./,
    end: 1,
    limitMs: 3000,
  },
};

/** Runs six ranks until one failure has ended them; a pulled cable is put back. */
export async function runHostFailure(cluster: Cluster, failure: HostFailure): Promise<HostFailureResult> {
  const { scenario, options = [] } = failure;
  const launch = [COMMAND, "-np", "6", "-H", "hosta:2,hostb:2,hostc:2", ...options, process.execPath, SCRIPT, scenario];
  const run = new LauncherRun(cluster.commandOn("hosta", [process.execPath, ...launch]));
  await run.waitForOutput("now\n");
  try {
    return await measureEnd(cluster, run, failure);
  } finally {
    if (failure.cut !== undefined) cluster.heal(...failure.cut);
  }
}

/** Makes the failure happen and waits for the end. */
async function measureEnd(cluster: Cluster, run: LauncherRun, { cut, act }: HostFailure): Promise<HostFailureResult> {
  const running = () => cluster.hosts.flatMap(({ name }) => ourProcesses(cluster, name));
  const startMs = performance.now();
  if (cut !== undefined) cluster.partition(...cut);
  act?.(cluster);
  while (running().length > 0 && performance.now() - startMs < LIMIT_MS) await delay(POLL_MS);
  const elapsedMs = Math.round(performance.now() - startMs);
  const left = running().map(({ command }) => command);
  killAll(running());
  for (const { name } of cluster.hosts) {
    left.push(...(await cluster.run(name, ["ls", "/dev/shm"])).stdout.split("\n").filter((file) => file !== ""));
  }
  const { end, stderr } = await run.result;
  return { elapsedMs, end, stderr, left };
}
