/**
 * One rank's side of the rendezvous: finds rank 0's coordinator, joins, and then holds the stream that carries heartbeats and the
 * news of others' ends. Every rank has one, rank 0 included.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { type ChannelCredentials, type ClientDuplexStream, type ServiceError, status } from "@grpc/grpc-js";
import type { WorldIdentity } from "../environment.ts";
import { RendezvousError } from "../errors.ts";
import { type CoordinatorAddress, readAddressFile } from "./address-file.ts";
import type { Tunnel } from "./bridge.ts";
import {
  describeFailure,
  describeFencing,
  describeIncomplete,
  describeUnreachable,
  type RankFailure,
} from "./failure.ts";
import {
  type CoordinatorMessage,
  type Failure,
  type Join,
  type Peer,
  type Process,
  RendezvousClient as RendezvousStub,
  type RankMessage,
} from "./generated/rendezvous.ts";
import { type HeartbeatTiming, keepHeartbeat, SilenceMeter } from "./heartbeat.ts";
import type { MeetingPoint } from "./meeting-point.ts";
import { fenceProcess, shareHost } from "./process-identity.ts";
import { proveSecret } from "./secret.ts";

export interface ClientOptions {
  readonly identity: WorldIdentity;
  readonly meetingPoint: MeetingPoint;
  readonly credentials: ChannelCredentials;
  readonly join: Join & { readonly process: Process };
  readonly startTimeoutMs: number;
  readonly timing: HeartbeatTiming;
  /** Called once, for the first cause. */
  readonly onFailure: (failure: RankFailure) => void;
  /** Called when a rank ends with exit code 0. */
  readonly onLeft: (rank: number) => void;
  /** Called when another rank has opened a tunnel to this one. */
  readonly onTunnelOffer: (tunnel: number) => void;
  /** Receives one line per thing that whoever looks after the run should know. */
  readonly log: (line: string) => void;
}

type Stream = ClientDuplexStream<RankMessage, CoordinatorMessage>;
type Body = NonNullable<CoordinatorMessage["body"]>;

/** Longer than any run is gathered. */
const NEVER_MS = 3_600_000;
/**
 * Every attempt has a channel of its own: a shared one would make a retry wait for gRPC's backoff. Loopback and cluster addresses
 * are not for a web proxy, nor for service settings in the DNS.
 */
const CHANNEL_OPTIONS = {
  "grpc.enable_http_proxy": 0,
  "grpc.service_config_disable_resolution": 1,
  "grpc.use_local_subchannel_pool": 1,
  "grpc.enable_retries": 0,
  // gRPC goes on connecting for a channel that has been closed; rank 0 would take that for a stranger.
  "grpc.initial_reconnect_backoff_ms": NEVER_MS,
  "grpc.max_reconnect_backoff_ms": NEVER_MS,
};
/** Between two looks for a coordinator that is not there yet: short against a process start, long against a connection attempt. */
const RETRY_INTERVAL_MS = 25;

/** How long a rank that leaves waits for rank 0 to have taken note. */
const FAREWELL_LIMIT_MS = 1000;

/** What a connection that the other side ends is called depends on how far it had come: by gRPC, by Node, or by a TLS alert. */
const HUNG_UP =
  /^(Failed to connect|Socket closed|Connection (closed|dropped)|(read|write) (ECONNRESET|EPIPE)|Client network socket disconnected)|SSL alert number/;

/** What came of one attempt: the world, or in words why rank 0 was not reached; undefined: nothing until it was given up. */
type Outcome = { readonly peers: readonly Peer[] } | { readonly seen: string | undefined };

export class RendezvousClient {
  /** All ranks in order. */
  peers: readonly Peer[] = [];
  readonly #options: ClientOptions;
  readonly #stub: RendezvousStub;
  readonly #stream: Stream;
  readonly #target: CoordinatorAddress;
  /** Tunnels have a connection of their own: heartbeats do not wait behind tensors. */
  #tunnels: RendezvousStub | undefined;
  readonly #silence = new SilenceMeter();
  #stopHeartbeat: (() => void) | undefined;
  /** Rank 0, known from its first message on. */
  #root: Process | undefined;
  /** This side ended an attempt to which rank 0 had not answered. */
  #isGivenUp = false;
  /** After the last word, in either direction, the end of the stream means nothing. */
  #isOver = false;
  #settle!: { resolve: (outcome: Outcome) => void; reject: (error: RendezvousError) => void };
  /** Rejects when rank 0 was reached but the world did not come about. */
  readonly #outcome = new Promise<Outcome>((resolve, reject) => (this.#settle = { resolve, reject }));
  readonly #ended: Promise<void>;

  private constructor(target: CoordinatorAddress, options: ClientOptions) {
    this.#options = options;
    this.#target = target;
    this.#stub = new RendezvousStub(target.address, options.credentials, CHANNEL_OPTIONS);
    this.#stream = this.#stub.join(proveSecret(target.secret));
    let error: ServiceError | undefined;
    this.#stream.on("error", (cause: ServiceError) => (error = cause));
    this.#stream.on("data", ({ body }: CoordinatorMessage) => body !== undefined && this.#receive(body));
    this.#ended = new Promise((resolve) => {
      this.#stream.once("end", () => {
        this.#lose(error);
        this.#stub.close();
        resolve();
      });
    });
    this.#stream.write({ body: { $case: "join", value: options.join } });
  }

  /**
   * Finds rank 0, joins, and waits until all have.
   * @throws {RendezvousError} when rank 0 is not found within the start timeout, or the world does not come about.
   */
  static async join(options: ClientOptions): Promise<RendezvousClient> {
    const { identity, meetingPoint, startTimeoutMs } = options;
    const startedMs = performance.now();
    let seen = "it does not answer";
    while (performance.now() - startedMs < startTimeoutMs) {
      const target = findCoordinator(meetingPoint);
      if (target === undefined) {
        seen = "it has not announced its address";
      } else {
        const client = new RendezvousClient(target, options);
        const outcome = await client.#waitForWorld(target, startedMs + startTimeoutMs);
        if ("peers" in outcome) return client;
        seen = outcome.seen ?? seen; // the last attempt ends when time is up, and has seen less than those before it
      }
      await sleep(RETRY_INTERVAL_MS);
    }
    const place = meetingPoint.kind === "address" ? `at ${meetingPoint.address}` : `through ${meetingPoint.path}`;
    const elapsedMs = Math.round(performance.now() - startedMs);
    throw new RendezvousError(describeUnreachable(identity, `${place} (${seen})`, elapsedMs), identity);
  }

  /** Opens a stream that can become an end of a tunnel to another rank. */
  openTunnel(): Tunnel {
    this.#tunnels ??= new RendezvousStub(this.#target.address, this.#options.credentials, CHANNEL_OPTIONS);
    return this.#tunnels.tunnel(proveSecret(this.#target.secret));
  }

  /** Tells everyone that the data connection to `rank` failed. */
  reportFailure(rank: number, reason: string): void {
    if (this.#isOver) return;
    const value = { rank, reason, elapsedMs: this.#silence.silentMs, frozen: false, process: undefined };
    this.#stream.write({ body: { $case: "failure", value } });
  }

  /** Says goodbye and waits, for a short while, until rank 0 has taken note; at once when there is no more to say. */
  async leave(exitCode: number): Promise<void> {
    if (!this.#isOver) {
      this.#stream.write({ body: { $case: "leave", value: { exitCode } } });
      this.#finish();
    }
    await Promise.race([this.#ended, sleep(FAREWELL_LIMIT_MS, undefined, { ref: false })]);
    this.#stub.close();
    this.#tunnels?.close();
  }

  /**
   * Until rank 0 has spoken this may be the wrong place: a program that says nothing on the port of an earlier run. Then the
   * address file will soon name another one.
   */
  async #waitForWorld(target: CoordinatorAddress, deadlineMs: number): Promise<Outcome> {
    const watch = setInterval(() => {
      if (this.#root !== undefined) return;
      const current = findCoordinator(this.#options.meetingPoint);
      const isStale = current !== undefined && current.address !== target.address;
      if (!isStale && performance.now() < deadlineMs) return;
      this.#isGivenUp = true;
      this.#stream.cancel();
    }, RETRY_INTERVAL_MS);
    try {
      return await this.#outcome;
    } finally {
      clearInterval(watch);
    }
  }

  #receive(body: Body): void {
    this.#silence.reset();
    switch (body.$case) {
      case "welcome":
        this.#root = body.value.root;
        this.#startHeartbeat();
        break;
      case "world":
        this.peers = body.value.peers;
        this.#settle.resolve(body.value);
        break;
      case "left":
        if (body.value.rank === 0) this.#finish();
        this.#options.onLeft(body.value.rank);
        break;
      case "failed":
        this.#fail(body.value);
        break;
      case "refused":
        this.#refuse(body.value.message);
        break;
      case "incomplete":
        this.#refuse(describeIncomplete(this.#options.identity, body.value.missingRanks, body.value.elapsedMs));
        break;
      case "tunnelOffer":
        this.#options.onTunnelOffer(body.value.tunnel);
        break;
      case "heartbeat":
        break;
    }
  }

  #startHeartbeat(): void {
    const { timing } = this.#options;
    const beat = () => void this.#stream.write({ body: { $case: "heartbeat", value: {} } });
    this.#stopHeartbeat = keepHeartbeat(timing, beat, (wakingMs) => {
      this.#silence.add(wakingMs);
      if (this.#silence.silentMs >= timing.silenceLimitMs) this.#loseRoot("it stopped answering", true);
    });
  }

  /** The stream ended without a last word. */
  #lose(error: ServiceError | undefined): void {
    if (this.#isOver) return;
    if (this.#root !== undefined) return this.#loseRoot("its connection closed", false);
    this.#finish();
    if (this.#isGivenUp) return this.#settle.resolve({ seen: undefined });
    const { identity, meetingPoint } = this.#options;
    const seen = error === undefined ? "the connection closed" : describeError(error);
    if (meetingPoint.kind === "address" && /certificate|altnames/.test(seen)) {
      this.#refuse(
        `Rank ${identity.rank} (${identity.host}) does not trust rank 0 at ${meetingPoint.address}: ${seen}. ` +
          "Check SHARDRUN_TLS_CA here, and that rank 0's SHARDRUN_TLS_CERT is signed by it and names this address.",
      );
    }
    if (meetingPoint.kind === "address" && error?.code === status.UNAUTHENTICATED) {
      this.#refuse(
        `Rank ${identity.rank} (${identity.host}) was turned away at ${meetingPoint.address}: the coordinator there has another secret. ` +
          "It belongs to another run, or SHARDRUN_SECRET differs between the ranks.",
      );
    }
    this.#settle.resolve({ seen });
  }

  #loseRoot(reason: string, frozen: boolean): void {
    this.#fail({ rank: 0, reason, elapsedMs: this.#silence.silentMs, frozen, process: this.#root });
    this.#stream.cancel(); // nobody is left to hear a last word
  }

  #fail({ rank, reason, elapsedMs, frozen, process }: Failure): void {
    this.#finish();
    const { identity, join, log } = this.#options;
    if (frozen && process !== undefined && rank !== identity.rank && shareHost(process, join.process)) {
      fenceProcess(process, () => log(describeFencing(identity, rank, process, elapsedMs)));
    }
    const failure = { rank, host: process?.host ?? "unknown host", pid: process?.pid ?? 0, reason, elapsedMs };
    if (this.peers.length > 0) this.#options.onFailure(failure);
    else this.#settle.reject(new RendezvousError(describeFailure(failure), failure));
  }

  #refuse(message: string): void {
    this.#finish();
    this.#settle.reject(new RendezvousError(message, this.#options.identity));
  }

  /** There is no more to say. */
  #finish(): void {
    this.#isOver = true;
    this.#stopHeartbeat?.();
    this.#stream.end();
  }
}

/** What the network said, without gRPC's words around it. */
function describeError({ details }: ServiceError): string {
  const cause = /Last error: (?:Error(?: \[\w+\])?: )?(.*?)\. Resolution note/s.exec(details)?.[1] ?? details;
  return HUNG_UP.test(cause) ? "it hung up; SHARDRUN_TLS_CERT may differ or be missing" : cause;
}

/** Where rank 0 is, as far as it is known by now. */
function findCoordinator(meetingPoint: MeetingPoint): CoordinatorAddress | undefined {
  return meetingPoint.kind === "address" ? meetingPoint : readAddressFile(meetingPoint.path);
}
