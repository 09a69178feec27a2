/**
 * This process's place in the world: joined once, then told of failures and of ranks that leave, until it leaves itself. What the
 * engine uses of the rendezvous; the work is done by a thread of its own (worker.ts).
 */
import { Worker } from "node:worker_threads";
import type { Environment, WorldIdentity } from "../environment.ts";
import { RendezvousError } from "../errors.ts";
import type { RankFailure } from "./failure.ts";
import { DEFAULT_TIMING, type HeartbeatTiming } from "./heartbeat.ts";
import type { MeetingPoint } from "./meeting-point.ts";
import type { WorkerEvent, WorkerOptions, WorkerRequest, World } from "./worker-messages.ts";

export interface JoinOptions {
  /** Who this process is. */
  readonly environment: Environment;
  /** Where it finds the others. */
  readonly meetingPoint: MeetingPoint;
  /** Where peers reach this rank's collectives; handed to them as it is. */
  readonly dataAddress: string;
  readonly timing?: HeartbeatTiming;
  /** Aborted, with the exit code as its reason, when this rank leaves before all have joined. */
  readonly leaving: AbortSignal;
}

type Listener<T> = (event: T) => void;

/**
 * In a world of more than one. Does not keep its thread alive by itself; when that thread ends without leave(), the others take this
 * rank for lost.
 */
export class Membership {
  readonly #identity: WorldIdentity;
  readonly #worker: Worker;
  #world: World | undefined;
  #onBridged: ((world: World) => void) | undefined;
  readonly #failureListeners: Listener<RankFailure>[] = [];
  readonly #leftListeners: Listener<number>[] = [];
  #failure: RankFailure | undefined;
  readonly #ranksLeft: number[] = [];
  #settle!: { resolve: () => void; reject: (error: RendezvousError) => void };
  readonly #joined = new Promise<void>((resolve, reject) => (this.#settle = { resolve, reject }));
  readonly #ended: Promise<void>;

  private constructor(identity: WorldIdentity, worker: Worker) {
    this.#identity = identity;
    this.#worker = worker;
    worker.on("message", (event: WorkerEvent) => this.#receive(event));
    let defect: Error | undefined;
    worker.on("error", (error) => (defect = error));
    this.#ended = new Promise((resolve) => {
      worker.on("exit", (exitCode) => {
        this.#loseThread(exitCode, defect);
        resolve();
      });
    });
  }

  /**
   * Resolves when every rank has joined.
   * @throws {RendezvousError} when they do not within the start timeout, or do not fit together; on every rank.
   */
  static async join(options: JoinOptions): Promise<Membership> {
    const { environment, meetingPoint, dataAddress, timing = DEFAULT_TIMING, leaving } = options;
    const { identity } = environment;
    if (leaving.aborted) throw describeEarlyEnd(identity);
    // The compiled file. The script's own Node options (--eval, loaders, --inspect) are not for this thread.
    const worker = new Worker(new URL("./worker.js", import.meta.url), {
      name: "shardrun-rendezvous",
      workerData: { environment, meetingPoint, dataAddress, timing } satisfies WorkerOptions,
      execArgv: [],
    });
    const membership = new Membership(identity, worker);
    leaving.addEventListener("abort", () => void membership.leave(leaving.reason as number), { once: true });
    await membership.#joined;
    return membership;
  }

  /** All ranks of the run, which never change. */
  get world(): World {
    return this.#world!;
  }

  /**
   * The same ranks at addresses that lead through rank 0's coordinator, for a world whose other ports are closed. Slower than any
   * other way. Ask once, when joined.
   */
  openBridge(): Promise<World> {
    const bridged = new Promise<World>((resolve) => (this.#onBridged = resolve));
    this.#ask({ kind: "openBridge" });
    return bridged;
  }

  /** Lets nobody else onto the bridge; connections that exist stay. */
  closeBridge(): void {
    this.#ask({ kind: "closeBridge" });
  }

  /** Called once, with the first cause for which the run cannot go on; at once when there is one already. */
  onFailure(listener: Listener<RankFailure>): void {
    if (this.#failure !== undefined) listener(this.#failure);
    else this.#failureListeners.push(listener);
  }

  /** Called with each rank that ends with exit code 0; rank 0's end is the end of the run. */
  onLeft(listener: Listener<number>): void {
    this.#leftListeners.push(listener);
    this.#ranksLeft.forEach(listener);
  }

  /** Tells every rank that the data connection to `rank` failed, which only this rank may have noticed. */
  reportFailure(rank: number, reason: string): void {
    this.#ask({ kind: "report", rank, reason });
  }

  /** Tells the others that this rank ends; a code other than 0 is a failure to them. Resolves when they have been told. */
  async leave(exitCode: number): Promise<void> {
    this.#worker.ref();
    this.#ask({ kind: "leave", exitCode });
    await this.#ended;
  }

  #ask(request: WorkerRequest): void {
    this.#worker.postMessage(request);
  }

  #receive(event: WorkerEvent): void {
    switch (event.kind) {
      case "joined":
        this.#world = event.world;
        this.#worker.unref(); // a script that is done ends, its heartbeat with it
        this.#settle.resolve();
        break;
      case "bridged":
        this.#onBridged?.(event.world);
        break;
      case "refused":
        this.#settle.reject(new RendezvousError(event.message, this.#identity));
        break;
      case "failed":
        this.#fail(event.failure);
        break;
      case "left":
        this.#ranksLeft.push(event.rank);
        for (const listener of this.#leftListeners) listener(event.rank);
        break;
    }
  }

  /** The thread ended: as asked to, or by a defect, after which nobody would hear of a failure any more. */
  #loseThread(exitCode: number, defect: Error | undefined): void {
    const { rank, host } = this.#identity;
    if (exitCode !== 0) {
      const reason = `its rendezvous thread ended: ${defect?.message ?? "no reason given"}`;
      this.#fail({ rank, host, pid: process.pid, reason, elapsedMs: 0 });
    }
    this.#settle.reject(describeEarlyEnd(this.#identity, defect));
  }

  #fail(failure: RankFailure): void {
    if (this.#failure !== undefined) return;
    this.#failure = failure;
    for (const listener of this.#failureListeners) listener(failure);
  }
}

function describeEarlyEnd({ rank, host }: WorldIdentity, cause?: Error): RendezvousError {
  return new RendezvousError(`Rank ${rank} (${host}) ended before all ranks had joined.`, { rank, host, cause });
}
