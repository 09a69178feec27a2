/**
 * The launcher's end of an agent: starts it, hands it its job, passes frames on, and clears up should it die before its
 * ranks have ended.
 */
import { InternalError } from "../errors.ts";
import { decodeContent, encodeFrame, type Frame, FrameReader } from "./frames.ts";
import type { AgentJob, RankExit, Refusal } from "./job.ts";
import { describeSignal } from "./outcome.ts";
import { type AgentProcess, endGroup, startAgentProcess } from "./processes.ts";
import type { StreamName } from "./rank-output.ts";

const ORPHAN_GRACE_MS = 500;

/** What an agent reports. */
export interface AgentEvents {
  readonly refused: (refusal: Refusal) => void;
  readonly started: (rank: number, pid: number) => void;
  readonly output: (rank: number, stream: StreamName, chunk: Buffer) => void;
  readonly stdinTaken: () => void;
  readonly exited: (exit: RankExit) => void;
  /** The rank has ended, and all that it wrote has been reported. */
  readonly ended: (rank: number) => void;
}

export class AgentConnection {
  readonly pid: number | undefined;
  /** Resolves when the agent and all of its ranks are gone: to what was wrong with the agent, if anything. */
  readonly gone: Promise<string | undefined>;
  readonly #process: AgentProcess;
  readonly #job: AgentJob;
  readonly #events: AgentEvents;
  /** Pids of the ranks that have started and not ended. */
  readonly #running = new Map<number, number>();
  #isDone = false;

  /** Starts the agent of this host and its ranks. */
  constructor(job: AgentJob, environment: NodeJS.ProcessEnv, events: AgentEvents) {
    this.#job = job;
    this.#events = events;
    this.#process = startAgentProcess(environment);
    this.pid = this.#process.pid;
    this.#process.stdin.on("error", () => {}); // a dead agent is noticed by its exit
    this.#process.stdin.write(encodeFrame("job", 0, job));
    const reader = new FrameReader();
    this.#process.stdout.on("data", (chunk: Buffer) => {
      for (const frame of reader.read(chunk)) this.#receive(frame);
    });
    this.gone = new Promise((resolve) => {
      this.#process.once("error", (error) =>
        resolve(`Could not start the agent on host ${job.host}: ${error.message}.`),
      );
      this.#process.once("close", (code: number | null, signal: NodeJS.Signals | null) => {
        void this.#clearUp(code, signal).then(resolve);
      });
    });
  }

  /** Hands a signal on to every rank; resolves when it is under way. */
  async signal(signal: NodeJS.Signals): Promise<void> {
    await new Promise<void>((resolve) =>
      this.#process.stdin.write(encodeFrame("signal", 0, { signal }), () => resolve()),
    );
  }

  /** Ends every rank: SIGTERM, after the grace SIGKILL; at once where the grace is 0. */
  terminate(graceMs: number): void {
    this.#process.stdin.write(encodeFrame("terminate", 0, { graceMs }));
  }

  /** Sends bytes to the standard input of the job's stdinRank; send no more before stdinTaken. */
  writeStdin(bytes: Buffer): void {
    this.#process.stdin.write(encodeFrame("stdin", this.#job.stdinRank ?? 0, bytes));
  }

  endStdin(): void {
    this.#process.stdin.write(encodeFrame("stdinEnd", this.#job.stdinRank ?? 0));
  }

  /** Stops reading what the agent sends, which in the end stops the ranks that write. */
  pause(): void {
    this.#process.stdout.pause();
  }

  resume(): void {
    this.#process.stdout.resume();
  }

  /** Whether the agent keeps this process alive; where it does not and this process ends, the agent ends its ranks. */
  keepAlive(keeps: boolean): void {
    const pipes = [this.#process.stdin, this.#process.stdout] as unknown as { ref(): void; unref(): void }[];
    for (const handle of [this.#process, ...pipes]) {
      if (keeps) handle.ref();
      else handle.unref();
    }
  }

  #receive(frame: Frame): void {
    switch (frame.kind) {
      case "refused":
        this.#isDone = this.#running.size === 0;
        return this.#events.refused(decodeContent<Refusal>(frame));
      case "started": {
        const { pid } = decodeContent<{ pid: number }>(frame);
        this.#running.set(frame.rank, pid);
        return this.#events.started(frame.rank, pid);
      }
      case "stdout":
      case "stderr":
        return this.#events.output(frame.rank, frame.kind, frame.payload);
      case "stdinTaken":
        return this.#events.stdinTaken();
      case "exited":
        return this.#events.exited(decodeContent<RankExit>(frame));
      case "ended":
        this.#running.delete(frame.rank);
        this.#isDone = this.#running.size === 0;
        return this.#events.ended(frame.rank);
      case "job":
      case "stdin":
      case "stdinEnd":
      case "signal":
      case "terminate":
        throw new InternalError(`The launcher received a ${frame.kind} frame, which only it may send.`);
    }
  }

  /** The watchdog of the agent ends orphans too; doing it here as well lets the launcher say that none is left. */
  async #clearUp(code: number | null, signal: NodeJS.Signals | null): Promise<string | undefined> {
    if (this.#isDone) return undefined;
    await Promise.all([...this.#running.values()].map((pid) => endGroup(pid, ORPHAN_GRACE_MS)));
    const how = signal === null ? `exited with exit code ${code}` : `exited on ${describeSignal(signal)}`;
    return `the agent of host ${this.#job.host} with PID ${this.pid} ${how} before its ranks had ended; they were ended.`;
  }
}
