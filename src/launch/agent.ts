/**
 * The agent: one process per host, between the launcher and the ranks of that host. It reads frames on its standard
 * input (the job first) and writes frames on its standard output. It is tied to both sides:
 * when the launcher is gone (its input ends), it ends every rank; when it dies itself, the watchdog ends them, and
 * every rank sees the end of the descriptor AGENT_FD.
 */
import { Socket } from "node:net";
import { InternalError } from "../errors.ts";
import { decodeContent, encodeFrame, type FrameKind, FrameReader, type Frame } from "./frames.ts";
import type { AgentJob, RankExit, RankJob, Refusal } from "./job.ts";
import { AGENT_FD, startWatchdogProcess } from "./processes.ts";
import { EXIT_CODE_NO_PROGRAM, findProgram } from "./program.ts";
import { RankProcess } from "./rank-process.ts";

/** Between SIGTERM and SIGKILL when a rank has failed or the launcher is gone. */
const FAILURE_GRACE_MS = 500;

class Agent {
  readonly #launcher = new Socket({ fd: 1, readable: false, writable: true });
  readonly #watchdog = startWatchdogProcess();
  readonly #ranks = new Map<number, RankProcess>();
  #numEnded = 0;

  /** Serves one job; the process ends when the launcher's side and all ranks have ended. */
  serve(): void {
    this.#launcher.on("error", () => this.#abandon());
    this.#launcher.on("drain", () => this.#ranks.forEach((rank) => rank.resumeOutput()));
    this.#watchdog.on("error", () => {}); // a host without sh has no watchdog; the ranks still see AGENT_FD end
    this.#watchdog.stdin.on("error", () => {});
    const reader = new FrameReader();
    process.stdin.on("data", (chunk: Buffer) => {
      for (const frame of reader.read(chunk)) this.#receive(frame);
    });
    process.stdin.on("end", () => this.#abandon());
    process.stdin.on("error", () => this.#abandon());
  }

  #receive(frame: Frame): void {
    const rank = this.#ranks.get(frame.rank);
    switch (frame.kind) {
      case "job":
        return this.#start(decodeContent<AgentJob>(frame));
      case "stdin":
        return rank?.writeStdin(frame.payload, () => this.#send("stdinTaken", frame.rank));
      case "stdinEnd":
        return rank?.endStdin();
      case "signal": {
        const { signal } = decodeContent<{ signal: NodeJS.Signals }>(frame);
        return this.#ranks.forEach((each) => each.signal(signal));
      }
      case "terminate":
        return this.#terminate(decodeContent<{ graceMs: number }>(frame).graceMs);
      case "refused":
      case "started":
      case "stdout":
      case "stderr":
      case "stdinTaken":
      case "exited":
      case "ended":
        throw new InternalError(`The agent received a ${frame.kind} frame, which only it may send.`);
    }
  }

  #start(job: AgentJob): void {
    const program = findProgram(job);
    if ("message" in program) return this.#refuse(program);
    for (const rank of job.ranks) this.#startRank(job, rank, program.path);
  }

  #startRank(job: AgentJob, { rank, environment, processors }: RankJob, path: string): void {
    const [name = path, ...args] = job.command;
    const start = {
      path,
      name,
      args,
      workingDirectory: job.workingDirectory,
      environment: { ...job.environment, ...environment, ...agentVariables() },
      hasStdin: rank === job.stdinRank,
      processors,
    };
    let pid = 0;
    const rankProcess = new RankProcess(start, {
      started: (startedPid) => {
        pid = startedPid;
        this.#watchdog.stdin.write(`+ ${pid}\n`);
        this.#send("started", rank, { pid });
      },
      output: (stream, chunk) => {
        if (!this.#send(stream, rank, chunk)) this.#ranks.forEach((each) => each.pauseOutput());
      },
      exited: (exit) => {
        this.#send("exited", rank, { ...exit, rank, host: job.host } satisfies RankExit);
        if (exit.code !== 0 && !exit.onRequest) this.#terminate(FAILURE_GRACE_MS);
      },
      failedToStart: (error) => {
        this.#refuse({
          message: `Could not start rank ${rank} on host ${job.host}: ${error.message}.`,
          exitCode: EXIT_CODE_NO_PROGRAM,
        });
        this.#terminate(FAILURE_GRACE_MS);
        this.#countEnded(job);
      },
      ended: () => {
        this.#watchdog.stdin.write(`- ${pid}\n`);
        this.#send("ended", rank);
        this.#countEnded(job);
      },
    });
    this.#ranks.set(rank, rankProcess);
  }

  #countEnded(job: AgentJob): void {
    this.#numEnded++;
    if (this.#numEnded === job.ranks.length) this.#leave();
  }

  #refuse(refusal: Refusal): void {
    this.#send("refused", 0, refusal);
    if (this.#ranks.size === 0) this.#leave();
  }

  #terminate(graceMs: number): void {
    this.#ranks.forEach((rank) => rank.terminate(graceMs));
  }

  /** The launcher is gone: nobody reads the output or waits for the answer any more. */
  #abandon(): void {
    this.#launcher.destroy();
    this.#ranks.forEach((rank) => rank.resumeOutput());
    this.#terminate(FAILURE_GRACE_MS);
  }

  /** Lets the process end, once what has been sent has gone out. */
  #leave(): void {
    this.#launcher.end();
    this.#watchdog.stdin.end();
    process.stdin.destroy();
  }

  #send(kind: FrameKind, rank: number, content?: Uint8Array | object): boolean {
    return this.#launcher.destroyed || this.#launcher.write(encodeFrame(kind, rank, content));
  }
}

/** How a rank finds the descriptor that ends with its agent, and knows that it is meant: its children inherit the words alone. */
function agentVariables(): Record<string, string> {
  return { SHARDRUN_AGENT_FD: String(AGENT_FD), SHARDRUN_AGENT_PID: String(process.pid) };
}

new Agent().serve();
