/**
 * Every process that shardrun starts is started here: the agent of a host, its ranks, and the watchdog that survives it.
 * Each gets a session of its own (`detached`), so that Ctrl-C in the terminal reaches the launcher alone and a whole
 * process group (a rank with its children) can be signalled by the pid of its first process.
 */
import { spawn, type ChildProcess, type ChildProcessByStdio } from "node:child_process";
import type { Readable, Writable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";

export type AgentProcess = ChildProcessByStdio<Writable, Readable, Readable | null>;

/** Starts an agent: frames on its standard input and output, its own errors on our standard error. */
export function startAgentProcess(environment: NodeJS.ProcessEnv): AgentProcess {
  const entry = fileURLToPath(new URL("./agent.js", import.meta.url));
  // NODE_OPTIONS is meant for the user's script: --inspect, say, would have every agent fight for one port.
  const env = { ...environment, NODE_OPTIONS: undefined };
  return spawn(process.execPath, [entry], { stdio: ["pipe", "pipe", "inherit"], detached: true, env });
}

/** Starts an agent on another host: frames on ssh's standard input and output, the last words of ssh on its stderr. */
export function startSshProcess(args: readonly string[], environment: NodeJS.ProcessEnv): AgentProcess {
  return spawn("ssh", [...args], { stdio: ["pipe", "pipe", "pipe"], detached: true, env: environment });
}

/** Starts tar: these files, relative to the directory, on its standard output. */
export function startTarProcess(directory: string, files: readonly string[]): AgentProcess {
  const tar = spawn("tar", ["-chf", "-", "-C", directory, "--null", "-T", "-"], { stdio: ["pipe", "pipe", "pipe"] });
  tar.stdin.on("error", () => {}); // it has ended already, and says why
  tar.stdin.end(files.map((file) => `${file}\0`).join(""));
  return tar;
}

/** How to start one rank's process. */
export interface RankStart {
  /** Path of the program; `name` is what it sees as argv[0]. */
  readonly path: string;
  readonly name: string;
  readonly args: readonly string[];
  readonly workingDirectory: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly hasStdin: boolean;
  /** Bound to these processors by taskset; absent = unbound. */
  readonly processors?: readonly number[];
}

/** The descriptor that every rank inherits and that ends when its agent dies; its number is in SHARDRUN_AGENT_FD. */
export const AGENT_FD = 3;

/** Starts one rank with pipes for its output, for its input if it has one, and for AGENT_FD. */
export function startRankProcess(start: RankStart): ChildProcess {
  const options = {
    cwd: start.workingDirectory,
    env: start.environment,
    detached: true,
    stdio: [start.hasStdin ? "pipe" : "ignore", "pipe", "pipe", "pipe"] as const,
  };
  // taskset sets the affinity and becomes the program (exec): same pid, same group.
  return start.processors === undefined
    ? spawn(start.path, [...start.args], { ...options, argv0: start.name, stdio: [...options.stdio] })
    : spawn("taskset", ["-c", start.processors.join(","), start.path, ...start.args], {
        ...options,
        stdio: [...options.stdio],
      });
}

/**
 * The watchdog reads "+ PID" and "- PID" lines; when its input ends, which the kernel sees to even at kill -9 of the
 * agent, it ends the process groups that are left. A shell, because it costs 1 MB where a second Node would cost 40.
 */
const WATCHDOG_SCRIPT = `
groups=
while read -r change pid; do
  others=
  for group in $groups; do [ "$group" = "$pid" ] || others="$others $group"; done
  [ "$change" = + ] && groups="$others $pid" || groups=$others
done
[ -z "$groups" ] && exit
for group in $groups; do kill -s TERM -- "-$group"; kill -s CONT -- "-$group"; done
sleep 0.5
for group in $groups; do kill -s KILL -- "-$group"; done
`;

/** Starts the watchdog of an agent. */
export function startWatchdogProcess(): ChildProcessByStdio<Writable, null, null> {
  return spawn("sh", ["-c", WATCHDOG_SCRIPT, "shardrun-watchdog"], {
    stdio: ["pipe", "ignore", "ignore"],
    detached: true,
  });
}

/** Sends a signal to a process group; false when nothing of the group is left. */
export function signalGroup(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(-pid, signal);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/** Waits until nothing of a process group is left; false when something still is after `limitMs`. */
export async function waitForGroupEnd(pid: number, limitMs: number): Promise<boolean> {
  const deadline = performance.now() + limitMs;
  while (signalGroup(pid, 0)) {
    if (performance.now() >= deadline) return false;
    await delay(10);
  }
  return true;
}

/** Ends a process group: SIGTERM (and SIGCONT, in case it is stopped), then SIGKILL to what is left after `graceMs`. */
export async function endGroup(pid: number, graceMs: number): Promise<void> {
  if (graceMs > 0) {
    signalGroup(pid, "SIGTERM");
    signalGroup(pid, "SIGCONT");
    if (await waitForGroupEnd(pid, graceMs)) return;
  }
  signalGroup(pid, "SIGKILL");
  // Bounded: where no init process reaps orphans, a killed grandchild stays as a zombie for ever.
  await waitForGroupEnd(pid, 200);
}
