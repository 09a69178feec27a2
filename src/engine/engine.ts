/**
 * The engine as the script's thread sees it: requests go out, replies and tokens come back, nothing here blocks the event loop.
 * The engine keeps the process alive only while a request is under way.
 */
import { Worker } from "node:worker_threads";
import { CollectiveError, ShardrunError, UsageError } from "../errors.ts";
import {
  ENGINE_FAILED,
  ENGINE_RUNNING,
  reviveError,
  type FromEngine,
  type Replies,
  type Request,
  type ToEngine,
  type TokenEvent,
} from "./messages.ts";
import type { EngineData } from "./worker.ts";
import type { WorldSettings } from "./world.ts";

export interface RequestOptions {
  readonly onToken?: (token: TokenEvent) => void;
  /** Stops the request between two steps; it then rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

interface Pending {
  readonly resolve: (value: never) => void;
  readonly reject: (error: unknown) => void;
  readonly onToken: ((token: TokenEvent) => void) | undefined;
}

export class Engine {
  readonly settings: WorldSettings;
  readonly #worker: Worker;
  readonly #state = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
  readonly #pending = new Map<number, Pending>();
  #numRequests = 0;
  #failure: ShardrunError | undefined;
  #hasLostPeer = false;

  /** @param onFailed called when this rank can no longer take part */
  constructor(settings: WorldSettings, onFailed: (error: ShardrunError) => void = () => {}) {
    this.settings = settings;
    const data: EngineData = { settings, state: this.#state.buffer };
    this.#worker = new Worker(new URL("./thread.js", import.meta.url), {
      workerData: data,
      name: "shardrun engine",
      // Node's options are for the script: --input-type of `node -e` would keep the thread from starting, and loaders slow it down.
      execArgv: [],
    });
    this.#worker.on("message", (message: FromEngine) => this.#receive(message, onFailed));
    this.#worker.on("error", (error) => {
      this.fail(error as ShardrunError);
      onFailed(this.#failure!);
    });
    this.#worker.unref();
  }

  /** Sends a request; resolves to its reply. */
  async request<Kind extends Request["kind"]>(
    request: Request & { kind: Kind },
    { onToken, signal }: RequestOptions = {},
  ): Promise<Replies[Kind]> {
    signal?.throwIfAborted();
    if (this.#failure !== undefined) {
      throw this.#failure;
    }
    const id = this.#numRequests++;
    const cancel = (): void => this.#send({ id, kind: "cancel" });
    signal?.addEventListener("abort", cancel, { once: true });
    try {
      const reply = await new Promise<Replies[Kind]>((resolve, reject) => {
        this.#pending.set(id, { resolve, reject, onToken });
        this.#worker.ref();
        this.#send({ id, ...request });
      });
      signal?.throwIfAborted();
      return reply;
    } catch (error) {
      if (error instanceof ShardrunError) {
        Error.captureStackTrace(error); // the script's call is of use to its author, not the error's way here
      }
      throw error;
    } finally {
      signal?.removeEventListener("abort", cancel);
      this.#pending.delete(id);
      if (this.#pending.size === 0) {
        this.#worker.unref();
      }
    }
  }

  /** Whether a request has failed because of another rank. */
  get hasLostPeer(): boolean {
    return this.#hasLostPeer;
  }

  /** Tells the other ranks that this one has ended its part. */
  leave(exitCode: number): void {
    this.#send({ kind: "leave", exitCode });
  }

  /**
   * Blocks this thread until the engine has nothing more to do; the engine's own thread goes on meanwhile.
   * @returns false when this rank failed
   */
  waitUntilEnded(timeoutMs?: number): boolean {
    Atomics.wait(this.#state, 0, ENGINE_RUNNING, timeoutMs);
    return Atomics.load(this.#state, 0) !== ENGINE_FAILED;
  }

  /** Ends an engine whose world is its own; requests under way reject. */
  async close(): Promise<void> {
    this.leave(0);
    await new Promise<void>((resolve) => {
      this.#worker.once("exit", () => resolve());
      this.#worker.ref();
    });
    this.fail(new UsageError("The model has been closed."));
  }

  /** Makes the requests under way and all later ones reject with this error; the first one given counts. */
  fail(error: ShardrunError): void {
    this.#failure ??= error;
    this.#pending.forEach(({ reject }) => reject(error));
  }

  #rejectRequest(id: number, error: ShardrunError): void {
    this.#hasLostPeer ||= error instanceof CollectiveError;
    this.#pending.get(id)?.reject(error);
  }

  #send(message: ToEngine): void {
    this.#worker.postMessage(message);
  }

  #receive(message: FromEngine, onFailed: (error: ShardrunError) => void): void {
    switch (message.kind) {
      case "reply":
        this.#pending.get(message.id)?.resolve(message.value as never);
        break;
      case "error":
        this.#rejectRequest(message.id, reviveError(message.error));
        break;
      case "token":
        this.#pending.get(message.id)?.onToken?.(message.token);
        break;
      case "failed":
        this.fail(reviveError(message.error));
        onFailed(this.#failure!);
        break;
    }
  }
}
