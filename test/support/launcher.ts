/**
 * Runs the compiled launcher as a user would, and finds every process that a run has left behind: all of them inherit a
 * mark in their environment, however they are related.
 */
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { afterEach } from "@jest/globals";
import { COMMAND } from "./run-shardrun.ts";

/** Two ranks, also where there is one core. */
export const TWO_RANKS = ["-np", "2", "--oversubscribe"] as const;

export interface RunResult {
  /** The exit code, or the signal that ended the launcher. */
  readonly end: number | NodeJS.Signals;
  readonly stdout: string;
  readonly stderr: string;
  readonly elapsedMs: number;
}

export interface RunSettings {
  readonly input?: string | Buffer;
  readonly workingDirectory?: string;
  readonly environment?: Readonly<Record<string, string>>;
}

export interface LiveProcess {
  readonly pid: number;
  readonly command: string;
}

/** Runs of the current test; what a failed one leaves behind must not outlive it. */
const runs: LauncherRun[] = [];

afterEach(() => {
  for (const run of runs.splice(0)) killAll(run.processes());
});

/** Kills what still lives of these. */
export function killAll(processes: readonly LiveProcess[]): void {
  for (const { pid } of processes) {
    try {
      process.kill(pid, "SIGKILL");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
    }
  }
}

export class LauncherRun {
  readonly child: ChildProcessWithoutNullStreams;
  /** Resolves when the launcher has ended and its output has been read. */
  readonly result: Promise<RunResult>;
  readonly #mark = randomUUID();
  #hasEnded = false;
  #stdout = "";
  #stderr = "";

  constructor(command: readonly string[], settings: RunSettings = {}) {
    runs.push(this);
    const startMs = performance.now();
    const [program = "", ...args] = command;
    this.child = spawn(program, args, {
      cwd: settings.workingDirectory,
      env: { ...process.env, ...settings.environment, LAUNCH_TEST_MARK: this.#mark },
    });
    this.child.stdout.setEncoding("latin1").on("data", (text: string) => (this.#stdout += text));
    this.child.stderr.setEncoding("latin1").on("data", (text: string) => (this.#stderr += text));
    this.child.stdin.on("error", () => {}).end(settings.input ?? "");
    this.result = new Promise((resolve) => {
      this.child.once("close", (code, signal) => {
        const elapsedMs = performance.now() - startMs;
        this.#hasEnded = true;
        resolve({ end: signal ?? code ?? -1, stdout: this.#stdout, stderr: this.#stderr, elapsedMs });
      });
    });
  }

  /** What the launcher has written on its standard output so far. */
  get stdout(): string {
    return this.#stdout;
  }

  /** Waits until the launcher's output holds `text` so many times. */
  async waitForOutput(text: string, times = 1): Promise<void> {
    while (this.#stdout.split(text).length <= times) {
      if (this.#hasEnded) throw new Error(`ended without "${text}": ${this.#stdout}${this.#stderr}`);
      await delay(5);
    }
  }

  /** All living processes of this run, the launcher included. */
  processes(): LiveProcess[] {
    return readdirSync("/proc").flatMap((name) => {
      if (!/^\d+$/.test(name)) return [];
      try {
        // A zombie's environment is empty.
        if (!readFileSync(`/proc/${name}/environ`, "latin1").includes(this.#mark)) return [];
        return [{ pid: Number(name), command: readFileSync(`/proc/${name}/cmdline`, "latin1").replaceAll("\0", " ") }];
      } catch {
        return []; // has ended meanwhile
      }
    });
  }

  /** The pid of the only process whose command line holds `text`, and begins with a program of that name. */
  pidOf(text: string, program = ""): number {
    const found = this.processes().filter(
      ({ command }) => command.includes(text) && command.split(" ")[0]!.endsWith(program),
    );
    if (found.length !== 1) throw new Error(`${found.length} processes with "${text}": ${JSON.stringify(found)}`);
    return found[0]!.pid;
  }

  /** Waits until no process of this run is left; what is left after `limitMs`. */
  async leftAfter(limitMs: number): Promise<LiveProcess[]> {
    const deadline = performance.now() + limitMs;
    while (this.processes().length > 0 && performance.now() < deadline) await delay(20);
    return this.processes();
  }
}

/** Starts `shardrun ARGS`. */
export function startLauncher(args: readonly string[], settings?: RunSettings): LauncherRun {
  return new LauncherRun([process.execPath, COMMAND, ...args], settings);
}

/** Runs `shardrun ARGS` to its end. */
export function runLauncher(args: readonly string[], settings?: RunSettings): Promise<RunResult> {
  return startLauncher(args, settings).result;
}
