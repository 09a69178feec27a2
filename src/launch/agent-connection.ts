/**
 * The launcher's end of an agent: starts it, hands it its job, passes frames on, and clears up should it die before its
 * ranks have ended.
 */
import { InternalError, LaunchError } from "../errors.ts";
import { ALIVE_INTERVAL_MS, decodeContent, encodeFrame, type Frame, FrameReader } from "./frames.ts";
import { type AgentHello, type AgentJob, type RankExit, type Refusal, VERSION } from "./job.ts";
import { describeSignal } from "./outcome.ts";
import { type AgentProcess, endGroup, startAgentProcess, startSshProcess } from "./processes.ts";
import type { StreamName } from "./rank-output.ts";
import { agentArguments, explainFailedStart, type SshOptions, type SshTarget } from "./ssh.ts";

const ORPHAN_GRACE_MS = 500;
/**
 * A run that ends does not wait for an agent on another host that has said nothing for so long, although it should every
 * ALIVE_INTERVAL_MS: as long as ranks wait for each other. While a run goes on, ssh alone tells, and has more patience.
 */
const SILENCE_LIMIT_MS = 1250;
/** What is kept of ssh's standard error. */
const MAX_LAST_WORDS = 4096;
/** How long the connection to another host may take to end after its ranks were killed. */
const KILL_LIMIT_MS = 2000;

/** What an agent reports. */
export interface AgentEvents {
  readonly refused: (refusal: Refusal) => void;
  readonly started: (rank: number, pid: number) => void;
  /** The rank has imported shardrun, and waits for the others: tell all agents to watchStopped. */
  readonly joining: () => void;
  readonly output: (rank: number, stream: StreamName, chunk: Buffer) => void;
  readonly stdinTaken: () => void;
  readonly exited: (exit: RankExit) => void;
  /** The rank has ended, and all that it wrote has been reported. */
  readonly ended: (rank: number) => void;
}

/** Which host an agent is for, and how ssh gets there; without `ssh` it is this host. */
export interface AgentTarget {
  readonly name: string;
  readonly ssh?: SshOptions & SshTarget;
}

export class AgentConnection {
  /** Resolves to what the agent says of its host; rejects with a LaunchError when it cannot be started. */
  readonly hello: Promise<AgentHello>;
  /** Resolves when the agent and all of its ranks are gone: to what was wrong with the agent, if anything. */
  readonly gone: Promise<string | undefined>;
  readonly #target: AgentTarget;
  readonly #process: AgentProcess;
  /** Pids of the ranks that have started and not ended. */
  readonly #running = new Map<number, number>();
  #stdinRank = 0;
  #events: AgentEvents | undefined;
  #greet!: (hello: AgentHello) => void;
  #refuse!: (error: LaunchError) => void;
  /** The end of what ssh and the other host wrote on standard error. */
  #lastWords = "";
  #isDone = false;
  #failure: string | undefined;
  /** When the agent was last heard; Infinity while it is not listened to. */
  #lastHeardMs = performance.now();

  /** Starts the agent of a host. */
  constructor(target: AgentTarget, environment: NodeJS.ProcessEnv) {
    this.#target = target;
    const { ssh } = target;
    this.#process =
      ssh === undefined ? startAgentProcess(environment) : startSshProcess(agentArguments(ssh, ssh), environment);
    this.hello = new Promise((resolve, reject) => {
      this.#greet = resolve;
      this.#refuse = reject;
    });
    this.hello.catch(() => {}); // whoever does not wait for it learns the same from `gone`
    this.#process.stdin.on("error", () => {}); // a dead agent is noticed by its exit
    const reader = new FrameReader();
    this.#process.stdout.on("data", (chunk: Buffer) => {
      this.#lastHeardMs = performance.now();
      try {
        for (const frame of reader.read(chunk)) this.#receive(frame);
      } catch (error) {
        this.#giveUp(this.#explainNoise(chunk, error as Error));
      }
    });
    this.#process.stderr?.on("data", (chunk: Buffer) => {
      this.#lastWords = (this.#lastWords + chunk.toString("utf8")).slice(-MAX_LAST_WORDS);
    });
    const timer = ssh && setInterval(() => this.#send(encodeFrame("alive", 0)), ALIVE_INTERVAL_MS);
    this.gone = new Promise((resolve) => {
      const end = (failure: string | undefined): void => {
        clearInterval(timer);
        this.#refuse(new LaunchError(failure ?? `The agent of host ${target.name} ended.`, { host: target.name }));
        resolve(failure);
      };
      this.#process.once("error", (error) =>
        end(`Could not start the agent on host ${target.name}: ${error.message}.`),
      );
      this.#process.once("close", (code: number | null, signal: NodeJS.Signals | null) => {
        void this.#clearUp(code, signal).then(end);
      });
    });
  }

  /** Hands the agent its job. */
  start(job: AgentJob, events: AgentEvents): void {
    this.#events = events;
    this.#stdinRank = job.stdinRank ?? 0;
    this.#isDone = false;
    this.#send(encodeFrame("job", 0, job));
  }

  /** Hands a signal on to every rank; resolves when it is under way. */
  async signal(signal: NodeJS.Signals): Promise<void> {
    await new Promise<void>((resolve) =>
      this.#process.stdin.write(encodeFrame("signal", 0, { signal }), () => resolve()),
    );
  }

  /** From now on, ranks that are stopped before they have joined the others are killed. */
  watchStopped(): void {
    this.#send(encodeFrame("watchStopped", 0));
  }

  /** Ends every rank: SIGTERM, after the grace SIGKILL; at once where the grace is 0. */
  terminate(graceMs: number): void {
    this.#send(encodeFrame("terminate", 0, { graceMs }));
    if (this.#target.ssh === undefined) return;
    if (graceMs === 0) setTimeout(() => this.#process.kill("SIGKILL"), KILL_LIMIT_MS).unref();
    setImmediate(() => this.#leaveSilent()); // what has arrived meanwhile is read before it counts
  }

  /** Lets an agent without a job go. */
  close(): void {
    this.#process.stdin.end();
    setTimeout(() => this.#process.kill("SIGKILL"), KILL_LIMIT_MS).unref();
  }

  /** Sends bytes to the standard input of the job's stdinRank; send no more before stdinTaken. */
  writeStdin(bytes: Buffer): void {
    this.#send(encodeFrame("stdin", this.#stdinRank, bytes));
  }

  endStdin(): void {
    this.#send(encodeFrame("stdinEnd", this.#stdinRank));
  }

  /** Stops reading what the agent sends, which in the end stops the ranks that write. */
  pause(): void {
    this.#lastHeardMs = Infinity;
    this.#process.stdout.pause();
  }

  resume(): void {
    this.#lastHeardMs = performance.now();
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
    if (frame.kind === "hello") return this.#welcome(decodeContent<AgentHello>(frame));
    if (frame.kind === "alive") return;
    const events = this.#events;
    if (events === undefined) throw new InternalError(`The launcher received a ${frame.kind} frame before any job.`);
    switch (frame.kind) {
      case "refused":
        this.#isDone = this.#running.size === 0;
        return events.refused(decodeContent<Refusal>(frame));
      case "started": {
        const { pid } = decodeContent<{ pid: number }>(frame);
        this.#running.set(frame.rank, pid);
        return events.started(frame.rank, pid);
      }
      case "joining":
        return events.joining();
      case "stdout":
      case "stderr":
        return events.output(frame.rank, frame.kind, frame.payload);
      case "stdinTaken":
        return events.stdinTaken();
      case "exited":
        return events.exited(this.#stamp(decodeContent<RankExit>(frame)));
      case "ended":
        this.#running.delete(frame.rank);
        this.#isDone = this.#running.size === 0;
        return events.ended(frame.rank);
      case "job":
      case "stdin":
      case "stdinEnd":
      case "signal":
      case "watchStopped":
      case "terminate":
        throw new InternalError(`The launcher received a ${frame.kind} frame, which only it may send.`);
    }
  }

  /** Clocks of hosts differ; exits of several are compared by when they were heard of. */
  #stamp(exit: RankExit): RankExit {
    return this.#target.ssh === undefined ? exit : { ...exit, atMs: Date.now() };
  }

  /** Login scripts that print something are the usual cause, and the bytes tell. */
  #explainNoise(chunk: Buffer, error: Error): string {
    const { name, ssh } = this.#target;
    if (ssh === undefined || this.#events !== undefined) return error.message;
    const text = JSON.stringify(chunk.subarray(0, 60).toString("utf8"));
    return (
      `Host "${name}" answered ssh with ${text} instead of its agent's greeting. ` +
      `Its login scripts must print nothing when ssh runs a command: see that "ssh ${name} true" is silent.`
    );
  }

  #welcome(hello: AgentHello): void {
    this.#isDone = this.#events === undefined;
    if (hello.version === VERSION) return this.#greet(hello);
    this.#giveUp(
      `Host "${this.#target.name}" has shardrun ${hello.version}, this host has ${VERSION}. ` +
        `Install the same version on both, say with --prefix DIRECTORY where it is there, or have it copied with --push.`,
    );
  }

  #send(frame: Buffer): void {
    this.#process.stdin.write(frame);
  }

  /** Waits no longer for an agent that is out of reach; it misses its launcher, too. */
  #leaveSilent(): void {
    const silentMs = Math.round(performance.now() - this.#lastHeardMs);
    if (!this.#isDone && silentMs >= SILENCE_LIMIT_MS)
      this.#giveUp(this.#describeLoss(`it had said nothing for ${silentMs} ms`));
  }

  /** Ends an agent that is not understood; its ranks end with it. */
  #giveUp(failure: string): void {
    this.#failure ??= failure;
    this.#process.kill("SIGKILL");
  }

  /** The watchdog of the agent ends orphans too; doing it here as well lets the launcher say that none is left. */
  async #clearUp(code: number | null, signal: NodeJS.Signals | null): Promise<string | undefined> {
    if (this.#failure !== undefined || this.#isDone) return this.#failure;
    const { name, ssh } = this.#target;
    const how = signal === null ? `exited with exit code ${code}` : `exited on ${describeSignal(signal)}`;
    if (ssh === undefined) {
      await Promise.all([...this.#running.values()].map((pid) => endGroup(pid, ORPHAN_GRACE_MS)));
      return `the agent of host ${name} with PID ${this.#process.pid} ${how} before its ranks had ended; they were ended.`;
    }
    const lastLine =
      this.#lastWords
        .trim()
        .split(/[\r\n]+/)
        .at(-1) ?? "";
    if (this.#events === undefined) return explainFailedStart(ssh, ssh, { exitCode: code, lastLine });
    return this.#describeLoss(lastLine === "" ? `ssh ${how}` : lastLine.replace(/\.$/, ""));
  }

  #describeLoss(detail: string): string {
    return `the connection to the agent of host ${this.#target.name} broke before its ranks had ended: ${detail}; all ranks were ended.`;
  }
}
