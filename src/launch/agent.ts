/**
 * The agent: one process per host, between the launcher and the ranks of that host. It reads frames on its standard
 * input (the job first) and writes frames on its standard output. It is tied to both sides:
 * when the launcher is gone (its input ends, or on another host: has been silent), it ends every rank; when it dies
 * itself, the watchdog ends them, and every rank sees the end of the descriptor AGENT_FD.
 */
import { Socket } from "node:net";
import { homedir, networkInterfaces } from "node:os";
import { fileURLToPath } from "node:url";
import { definedVariables, inheritedVariables } from "../environment.ts";
import { InternalError } from "../errors.ts";
import { ALIVE_INTERVAL_MS, decodeContent, encodeFrame, type FrameKind, FrameReader, type Frame } from "./frames.ts";
import { type AgentHello, type AgentJob, type RankExit, type RankJob, type Refusal, VERSION } from "./job.ts";
import { listCores, listNumaDomains } from "./processors.ts";
import { AGENT_FD, startWatchdogProcess } from "./processes.ts";
import { EXIT_CODE_NO_PROGRAM, findProgram, isDirectory } from "./program.ts";
import { RankProcess } from "./rank-process.ts";
import { findFreePort } from "./run-identity.ts";
import { STOPPED_LIMIT_MS, watchStopped } from "./stopped-ranks.ts";

/** Between SIGTERM and SIGKILL when a rank has failed or the launcher is gone. */
const FAILURE_GRACE_MS = 500;
/** A launcher on another host that says nothing for so long, although it should every ALIVE_INTERVAL_MS, is out of reach. */
const SILENCE_LIMIT_MS = 2500;
const LOOK_INTERVAL_MS = 250;

class Agent {
  readonly #launcher = new Socket({ fd: 1, readable: false, writable: true });
  readonly #watchdog = startWatchdogProcess();
  readonly #ranks = new Map<number, RankProcess>();
  #numEnded = 0;
  /** All ranks were stopped by the user, together with the launcher. */
  #isSuspended = false;
  /** Undefined before any rank waits for the others. */
  #stopWatching: (() => void) | undefined;
  /** When the launcher was last heard; Infinity while it is stopped and cannot speak. */
  #lastHeardMs = performance.now();

  /** Serves one job; the process ends when the launcher's side and all ranks have ended. */
  serve({ isRemote }: { readonly isRemote: boolean }): void {
    if (isRemote) this.#keepInTouch();
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
    void this.#greet();
  }

  async #greet(): Promise<void> {
    const cores = listCores();
    this.#send("hello", 0, {
      version: VERSION,
      cores,
      numaDomains: listNumaDomains(cores),
      freePort: await findFreePort(),
      addresses: Object.fromEntries(
        Object.entries(networkInterfaces()).map(([name, all = []]) => [name, all.map(({ address }) => address)]),
      ),
      sshConnection: inheritedVariables().SSH_CONNECTION,
    } satisfies AgentHello);
  }

  /** After a cut cable no input ends: only silence tells. What has arrived meanwhile is read before it counts. */
  #keepInTouch(): void {
    const isSilent = (): boolean => performance.now() - this.#lastHeardMs > SILENCE_LIMIT_MS;
    const look = (): void => {
      if (isSilent()) setImmediate(() => isSilent() && this.#abandon());
    };
    const sayAlive = (): void => {
      if (this.#launcher.writable && !this.#launcher.writableNeedDrain) this.#send("alive", 0);
    };
    setInterval(look, LOOK_INTERVAL_MS).unref();
    setInterval(sayAlive, ALIVE_INTERVAL_MS).unref();
  }

  #receive(frame: Frame): void {
    const rank = this.#ranks.get(frame.rank);
    this.#lastHeardMs = performance.now();
    switch (frame.kind) {
      case "alive":
        return;
      case "job":
        return this.#start(decodeContent<AgentJob>(frame));
      case "stdin":
        return rank?.writeStdin(frame.payload, () => this.#send("stdinTaken", frame.rank));
      case "stdinEnd":
        return rank?.endStdin();
      case "signal": {
        const { signal } = decodeContent<{ signal: NodeJS.Signals }>(frame);
        this.#isSuspended = signal === "SIGSTOP";
        if (this.#isSuspended) this.#lastHeardMs = Infinity; // the launcher stops itself next
        return this.#ranks.forEach((each) => each.signal(signal));
      }
      case "watchStopped":
        this.#stopWatching ??= watchStopped(
          () => this.#pidsToJoin(),
          (pid) => this.#killStopped(pid),
        );
        return;
      case "terminate":
        return this.#terminate(decodeContent<{ graceMs: number }>(frame).graceMs);
      case "hello":
      case "refused":
      case "started":
      case "joining":
      case "stdout":
      case "stderr":
      case "stdinTaken":
      case "exited":
      case "ended":
        throw new InternalError(`The agent received a ${frame.kind} frame, which only it may send.`);
    }
  }

  #start(asked: AgentJob): void {
    const own = asked.addsHostEnvironment ? definedVariables(inheritedVariables()) : {};
    const job = {
      ...asked,
      command:
        asked.entry === undefined ? asked.command : [process.execPath, pathOfEntry(asked.entry), ...asked.command],
      workingDirectory:
        asked.mayBeginAtHome && !isDirectory(asked.workingDirectory) ? homedir() : asked.workingDirectory,
      environment: { ...own, ...asked.environment },
    };
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
      joining: () => this.#send("joining", rank),
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

  /** Of the ranks that run and that the others may be waiting for. */
  #pidsToJoin(): readonly number[] {
    const toJoin = this.#isSuspended
      ? []
      : [...this.#ranks.values()].filter((rank) => rank.isRunning && !rank.hasJoined);
    return toJoin.map((rank) => rank.pid);
  }

  #killStopped(pid: number): void {
    for (const rank of this.#ranks.values()) if (rank.pid === pid) rank.killStopped(STOPPED_LIMIT_MS);
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
    if (this.#ranks.size === 0) return this.#leave();
    this.#launcher.destroy();
    this.#ranks.forEach((rank) => rank.resumeOutput());
    this.#terminate(FAILURE_GRACE_MS);
  }

  /** Lets the process end, once what has been sent has gone out. */
  #leave(): void {
    this.#stopWatching?.();
    this.#watchdog.stdin.end();
    if (this.#launcher.destroyed) process.stdin.destroy();
    else this.#launcher.end(() => process.stdin.destroy());
  }

  #send(kind: FrameKind, rank: number, content?: Uint8Array | object): boolean {
    return this.#launcher.destroyed || this.#launcher.write(encodeFrame(kind, rank, content));
  }
}

/** A file of this installation's compiled code. */
function pathOfEntry(entry: string): string {
  return fileURLToPath(new URL(`../${entry}`, import.meta.url));
}

/** How a rank finds the descriptor that ends with its agent, and knows that it is meant: its children inherit the words alone. */
function agentVariables(): Record<string, string> {
  return { SHARDRUN_AGENT_FD: String(AGENT_FD), SHARDRUN_AGENT_PID: String(process.pid) };
}

new Agent().serve({ isRemote: process.argv[2] === "remote" });
