/**
 * One rank as its agent sees it: a process group that is started, fed, listened to, signalled and at last cleared away.
 * Children that the rank leaves behind belong to its group and go with it.
 */
import type { ChildProcess } from "node:child_process";
import type { Readable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import type { RankExit } from "./job.ts";
import { AGENT_FD, endGroup, type RankStart, signalGroup, startRankProcess, waitForGroupEnd } from "./processes.ts";

/** How long the children of a rank that has ended may go on before they are ended too. */
const LEFTOVER_GRACE_MS = 500;
/** How long the output of a vanished group may stay silent, held open by a process that left the group. */
const SILENCE_MS = 200;

/** What a rank tells its agent; `exited` comes once, then `ended` once when all output has been handed over. */
export interface RankEvents {
  readonly started: (pid: number) => void;
  readonly output: (stream: "stdout" | "stderr", chunk: Buffer) => void;
  readonly exited: (exit: Omit<RankExit, "rank" | "host">) => void;
  readonly failedToStart: (error: Error) => void;
  readonly ended: () => void;
}

export class RankProcess {
  readonly #child: ChildProcess;
  readonly #events: RankEvents;
  readonly #outputs: readonly Readable[];
  /** When SIGKILL follows the SIGTERM that ended this rank; undefined while nobody has asked for its end. */
  #killDueMs: number | undefined;
  #isPaused = false;
  #lastOutputMs = 0;

  constructor(start: RankStart, events: RankEvents) {
    this.#events = events;
    this.#child = startRankProcess(start);
    this.#outputs = [this.#child.stdout, this.#child.stderr].filter((output) => output !== null);
    if (this.#child.pid === undefined) {
      this.#child.once("error", (error) => events.failedToStart(error));
      return;
    }
    events.started(this.#child.pid);
    this.#listen(this.#child.stdout, "stdout");
    this.#listen(this.#child.stderr, "stderr");
    const agentEnd = this.#child.stdio[AGENT_FD] as Readable | undefined;
    agentEnd?.on("error", () => {}).resume(); // nothing is expected on it; only its end means something, to the rank
    this.#child.stdin?.on("error", () => {}); // the rank may close its input, or end, before it has read all
    this.#child.once("exit", (code, signal) => void this.#clearAway(code, signal));
  }

  /** True from the start of the process to its exit. */
  get isRunning(): boolean {
    return this.#child.pid !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Hands bytes to the rank's standard input; `taken` is called when there is room for more. */
  writeStdin(bytes: Buffer, taken: () => void): void {
    if (this.#child.stdin?.writable) this.#child.stdin.write(bytes, () => taken());
    else taken();
  }

  endStdin(): void {
    this.#child.stdin?.end();
  }

  pauseOutput(): void {
    this.#isPaused = true;
    for (const output of this.#outputs) output.pause();
  }

  resumeOutput(): void {
    this.#isPaused = false;
    this.#lastOutputMs = performance.now();
    for (const output of this.#outputs) output.resume();
  }

  /** Hands a signal on to the rank and its children. */
  signal(signal: NodeJS.Signals): void {
    if (this.isRunning) signalGroup(this.#pid, signal);
  }

  /** Ends the rank: SIGTERM, after the grace SIGKILL; at once where the grace is 0. */
  terminate(graceMs: number): void {
    if (!this.isRunning) return;
    this.#killDueMs ??= performance.now() + graceMs;
    if (graceMs === 0) this.#killDueMs = 0;
    void endGroup(this.#pid, graceMs);
  }

  get #pid(): number {
    return this.#child.pid!;
  }

  #listen(output: Readable | null, name: "stdout" | "stderr"): void {
    output?.on("data", (chunk: Buffer) => {
      this.#lastOutputMs = performance.now();
      this.#events.output(name, chunk);
    });
    output?.on("error", () => {});
  }

  /** A rank that crashed, or was killed before our own SIGKILL was due, did not end because we asked for it. */
  #endedOnRequest(signal: NodeJS.Signals | null): boolean {
    if (this.#killDueMs === undefined) return false;
    return signal === null || signal === "SIGTERM" || (signal === "SIGKILL" && performance.now() >= this.#killDueMs);
  }

  async #clearAway(code: number | null, signal: NodeJS.Signals | null): Promise<void> {
    this.#events.exited({ pid: this.#pid, code, signal, atMs: Date.now(), onRequest: this.#endedOnRequest(signal) });
    const graceMs = this.#killDueMs === undefined ? LEFTOVER_GRACE_MS : 0;
    const lingerMs = code === 0 ? graceMs : 0; // what a failed rank leaves behind has nothing to finish
    if (!(await waitForGroupEnd(this.#pid, lingerMs))) await endGroup(this.#pid, graceMs);
    this.#lastOutputMs = performance.now();
    while (this.#outputs.some((output) => !output.closed)) {
      const isSilent = !this.#isPaused && performance.now() - this.#lastOutputMs > SILENCE_MS;
      if (isSilent) for (const output of this.#outputs) output.destroy();
      await delay(5);
    }
    // A process that has left the group may hold the other ends of these; they would keep the agent alive.
    this.#child.stdio[AGENT_FD]?.destroy();
    this.#child.stdin?.destroy();
    this.#events.ended();
  }
}
