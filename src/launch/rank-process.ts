/**
 * One rank as its agent sees it: a process group that is started, fed, listened to, signalled and at last cleared away.
 * Children that the rank leaves behind belong to its group and go with it.
 */
import type { ChildProcess } from "node:child_process";
import type { Readable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { RANK_JOINED, RANK_JOINING } from "../environment.ts";
import type { RankExit } from "./job.ts";
import { AGENT_FD, endGroup, type RankStart, signalGroup, startRankProcess, waitForGroupEnd } from "./processes.ts";

/** How long the children of a rank that has ended may go on before they are ended too. */
const LEFTOVER_GRACE_MS = 500;
/** How long the output of a vanished group may stay silent, held open by a process that left the group. */
const SILENCE_MS = 200;

/** What a rank tells its agent; `exited` comes once, then `ended` once when all output has been handed over. */
export interface RankEvents {
  readonly started: (pid: number) => void;
  /** It has imported shardrun, and waits for the other ranks. */
  readonly joining: () => void;
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
  /** For how long it was stopped when it was killed for that. */
  #stoppedMs: number | undefined;
  #hasJoined = false;
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
    agentEnd?.on("error", () => {}).on("data", (words: Buffer) => this.#hear(words.toString("latin1")));
    this.#child.stdin?.on("error", () => {}); // the rank may close its input, or end, before it has read all
    this.#child.once("exit", (code, signal) => void this.#clearAway(code, signal));
  }

  /** True from the start of the process to its exit. */
  get isRunning(): boolean {
    return this.#child.pid !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** True once it has met the other ranks, who watch over it from then on. */
  get hasJoined(): boolean {
    return this.#hasJoined;
  }

  get pid(): number {
    return this.#child.pid!;
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
    if (this.isRunning) signalGroup(this.pid, signal);
  }

  /** Ends the rank: SIGTERM, after the grace SIGKILL; at once where the grace is 0. */
  terminate(graceMs: number): void {
    if (!this.isRunning) return;
    this.#killDueMs ??= performance.now() + graceMs;
    if (graceMs === 0) this.#killDueMs = 0;
    void endGroup(this.pid, graceMs);
  }

  /** Ends a rank that others wait for although it is stopped; its exit says so. */
  killStopped(stoppedMs: number): void {
    this.#stoppedMs = stoppedMs;
    void endGroup(this.pid, 0);
  }

  /** What a rank that has imported shardrun says on AGENT_FD: one letter each time. */
  #hear(words: string): void {
    if (words.includes(RANK_JOINING)) this.#events.joining();
    if (words.includes(RANK_JOINED)) this.#hasJoined = true;
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
    const onRequest = this.#endedOnRequest(signal);
    this.#events.exited({ pid: this.pid, code, signal, atMs: Date.now(), onRequest, stoppedMs: this.#stoppedMs });
    const graceMs = this.#killDueMs === undefined ? LEFTOVER_GRACE_MS : 0;
    const lingerMs = code === 0 ? graceMs : 0; // what a failed rank leaves behind has nothing to finish
    if (!(await waitForGroupEnd(this.pid, lingerMs))) await endGroup(this.pid, graceMs);
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
