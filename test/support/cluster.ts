/**
 * Several hosts on this machine for a test file: test/cluster/cluster.sh, held for as long as the test needs it. Hosts see
 * this checkout read-only at its own path; all else they write is their own.
 */
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync, readlinkSync, realpathSync } from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import { describe } from "@jest/globals";
import type { LiveProcess } from "./launcher.ts";

const ROOT = join(import.meta.dirname, "../..");
const SCRIPT = join(ROOT, "test/cluster/cluster.sh");
const DIRECTORY = "/run/shardrun-cluster";
/** On the hosts, where nothing of this machine's home is seen. */
const HOME = "/home/shardrun";

/** How long the start may wait: for the tests of another file that hold the cluster, too. */
export const CLUSTER_START_LIMIT_MS = 300_000;

export interface ClusterOptions {
  /** 1 to 9. */
  readonly numHosts: number;
  /** Directories of this machine that every host sees read-only at the same path, beside the checkout. */
  readonly directories?: readonly string[];
}

export interface ClusterHost {
  readonly name: string;
  readonly address: string;
}

export interface HostResult {
  /** 128 + signal for a process that a signal has ended. */
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Cluster {
  /** hosta, hostb, ...: names that the hosts know, and `sshConfigFile` does. */
  readonly hosts: readonly ClusterHost[];
  /** What this machine has of it, a line for each namespace, interface, mount and first process. */
  parts(): string;
  /** As `parts`, before this one was started: what another had left. */
  readonly found: string;
  /** For `ssh -F` on this machine; on the hosts ssh needs no options. */
  readonly sshConfigFile: string;
  /** The command line that runs `command` on a host, in the working directory of the checkout. */
  commandOn(host: string, command: readonly string[]): string[];
  /** Runs a command on a host to its end. */
  run(host: string, command: readonly string[]): Promise<HostResult>;
  /** What runs on a host beside its sshd, with the pids that they have on this machine. */
  processes(host: string): LiveProcess[];
  /** Pulls a host's cable, or only what joins it with `peer`. */
  partition(host: string, peer?: string): void;
  heal(host: string, peer?: string): void;
  /**
   * Limits what a host sends and receives, in Mbit/s each; 0 lifts the limit.
   * @param burstBytes pass at once after a rest; what 5 ms send when left out, one packet's 1540 are most like a wire
   */
  limitRate(host: string, megabitsPerSecond: number, burstBytes?: number): void;
  /** Ends the hosts and all that runs on them. */
  stop(): Promise<void>;
}

/** Why there can be no cluster on this machine; undefined when there can. */
export function whyNoCluster(): string | undefined {
  const { status, stdout, stderr } = spawnSync("bash", [SCRIPT, "check"], { encoding: "utf8" });
  return status === 0 ? undefined : stdout.trim() || stderr.trim() || "needs bash";
}

/** Tests that need a cluster; where there can be none, or `lack` says what else is missing, they are skipped, and the name says why. */
export function describeWithCluster(name: string, tests: () => void, lack?: string): void {
  const whyNot = whyNoCluster() ?? lack;
  if (whyNot === undefined) describe(`${name} (as root)`, tests);
  else describe.skip(`${name} (${whyNot})`, tests);
}

/** Starts hosts, once no other test has a cluster. @throws when they do not come up */
export async function startCluster({ numHosts, directories = [] }: ClusterOptions): Promise<Cluster> {
  const seen = new Set(
    [ROOT, realpathSync(join(ROOT, "node_modules")), ...directories].map((path) => realpathSync(path)),
  );
  const holder = spawn("bash", [SCRIPT, "hold", String(numHosts), ...seen]);
  let stdout = "";
  let stderr = "";
  holder.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  const ended = once(holder, "close");
  const ready = new Promise<void>((resolve) => {
    holder.stdout.setEncoding("utf8").on("data", (text: string) => {
      stdout += text;
      if (stdout === "ready\n") resolve();
    });
  });
  await Promise.race([ready, ended]);
  if (stdout !== "ready\n") throw new Error(`the cluster did not start: ${stderr}`);

  const hosts = readFileSync(join(DIRECTORY, "hosts"), "utf8")
    .split("\n")
    .slice(1, -1)
    .map((line) => line.split(" "))
    .map(([address = "", name = ""]) => ({ name, address }));
  const firstPids = new Map(hosts.map(({ name }) => [name, readFileSync(join(DIRECTORY, name, "pid"), "utf8").trim()]));
  const environment = [`HOME=${HOME}`, "TMPDIR=/tmp", "XDG_CACHE_HOME="];

  function firstPid(host: string): string {
    const pid = firstPids.get(host);
    if (pid === undefined) throw new Error(`no host ${host}: there are ${[...firstPids.keys()].join(", ")}`);
    return pid;
  }

  function commandOn(host: string, command: readonly string[]): string[] {
    const enter = ["--mount", "--uts", "--ipc", "--net", "--pid", "--root", `--wdns=${ROOT}`];
    return ["nsenter", `--target=${firstPid(host)}`, ...enter, "--", "env", ...environment, ...command];
  }

  async function run(host: string, command: readonly string[]): Promise<HostResult> {
    const [program = "", ...args] = commandOn(host, command);
    const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
    const output = { stdout: "", stderr: "" };
    child.stdout.setEncoding("utf8").on("data", (text: string) => (output.stdout += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => (output.stderr += text));
    const [exitCode, signal] = (await once(child, "close")) as [number, null] | [null, NodeJS.Signals];
    return { exitCode: signal === null ? exitCode : 128 + constants.signals[signal], ...output };
  }

  function processes(host: string): LiveProcess[] {
    const namespace = readlinkSync(`/proc/${firstPid(host)}/ns/pid`);
    return readdirSync("/proc").flatMap((pid) => {
      if (!/^\d+$/.test(pid) || pid === firstPid(host)) return [];
      try {
        if (readlinkSync(`/proc/${pid}/ns/pid`) !== namespace) return [];
        const command = readFileSync(`/proc/${pid}/cmdline`, "latin1").replaceAll("\0", " ").trim();
        return command === "" ? [] : [{ pid: Number(pid), command }]; // a zombie has no command line
      } catch {
        return []; // has ended meanwhile
      }
    });
  }

  const steer = (...args: string[]) => void execFileSync("bash", [SCRIPT, ...args]);
  return {
    hosts,
    parts: () => execFileSync("bash", [SCRIPT, "parts"], { encoding: "utf8" }),
    found: readFileSync(join(DIRECTORY, "found"), "utf8").trim(),
    sshConfigFile: join(DIRECTORY, "ssh_config"),
    commandOn,
    run,
    processes,
    partition: (host, peer) => steer("partition", host, ...(peer === undefined ? [] : [peer])),
    heal: (host, peer) => steer("heal", host, ...(peer === undefined ? [] : [peer])),
    limitRate: (host, ...limits) => steer("rate", host, ...limits.map(String)),
    stop: async () => {
      holder.stdin.end();
      const [exitCode] = (await ended) as [number | null];
      if (exitCode !== 0) throw new Error(`the cluster ended with ${exitCode}: ${stderr}`);
    },
  };
}
