/**
 * Rank 0's side of the rendezvous: a gRPC server that gathers the ranks, tells everyone the world once it is complete, and from
 * then on tells everyone the first failure, or that a rank left. It decides nothing else, and only streams that prove the run's
 * secret reach it, or the relay behind it.
 */
import { Server, type ServerCredentials, status, type ServerDuplexStream } from "@grpc/grpc-js";
import { RendezvousError } from "../errors.ts";
import type { CoordinatorAddress } from "./address-file.ts";
import { Door } from "./door.ts";
import { describeMisfit } from "./failure.ts";
import {
  type CoordinatorMessage,
  type Failure,
  type Join,
  type Process,
  RendezvousService,
  type RankMessage,
  type TunnelMessage,
} from "./generated/rendezvous.ts";
import { type HeartbeatTiming, keepHeartbeat, SilenceMeter } from "./heartbeat.ts";
import { Relay } from "./relay.ts";
import { checkProof } from "./secret.ts";

export interface CoordinatorOptions {
  readonly secret: Uint8Array;
  readonly credentials: ServerCredentials;
  readonly startTimeoutMs: number;
  readonly timing: HeartbeatTiming;
  /** Rank 0 as it joins itself: what every other rank must agree with. */
  readonly root: Join & { readonly process: Process };
  /** Receives one line per thing that whoever looks after the run should know. */
  readonly log: (line: string) => void;
}

type Stream = ServerDuplexStream<RankMessage, CoordinatorMessage>;
type Body = NonNullable<CoordinatorMessage["body"]>;

/** A rank that has joined, until its stream ends. */
interface Member {
  readonly join: Join;
  readonly stream: Stream;
  readonly silence: SilenceMeter;
  /** It said that it leaves: the end of its stream is no failure. */
  isLeaving: boolean;
}

/** Control messages are small; the largest, World, goes the other way. */
const MAX_MESSAGE_BYTES = 64 * 1024;
/** How long rank 0's end waits for the others to have heard of it. */
const FAREWELL_LIMIT_MS = 1000;

export class Coordinator {
  readonly #options: CoordinatorOptions;
  readonly #server: Server;
  readonly #door: Door;
  readonly #members = new Map<number, Member>();
  readonly #relay = new Relay((rank, tunnel) => this.#offerTunnel(rank, tunnel));
  readonly #startedMs = performance.now();
  readonly #startTimer: NodeJS.Timeout;
  readonly #stopHeartbeat: () => void;
  /** Once set, the world is complete and never changes. */
  #isComplete = false;
  /** What ended the gathering, told to whoever comes later. */
  #refusal: Body | undefined;
  #hasFailed = false;
  #rootHasLeft = false;
  #onAllGone: (() => void) | undefined;

  private constructor(options: CoordinatorOptions) {
    this.#options = options;
    this.#server = new Server({ "grpc.max_receive_message_length": MAX_MESSAGE_BYTES });
    this.#server.addService(RendezvousService, {
      join: (stream: Stream) => this.#admits(stream) && this.#serve(stream),
      tunnel: (stream: ServerDuplexStream<TunnelMessage, TunnelMessage>) =>
        this.#admits(stream) && this.#relay.serve(stream),
    });
    const injector = this.#server.createConnectionInjector(options.credentials);
    this.#door = new Door({
      serve: (connection) => injector.injectConnection(connection),
      onFirstStranger: (peer) =>
        options.log(`rank 0 turned away ${peer}, which did not prove this run's secret (said once).`),
    });
    this.#startTimer = setTimeout(() => this.#giveUp(), options.startTimeoutMs);
    const beat = () => this.#tellAll({ $case: "heartbeat", value: {} });
    this.#stopHeartbeat = keepHeartbeat(options.timing, beat, (wakingMs) => this.#look(wakingMs));
  }

  /**
   * Starts listening. `address` is host:port, port 0 meaning any free one; resolves to the coordinator and the address in use.
   * @throws {RendezvousError} when the address cannot be listened on.
   */
  static async listen(address: string, options: CoordinatorOptions): Promise<[Coordinator, CoordinatorAddress]> {
    const coordinator = new Coordinator(options);
    try {
      return [coordinator, { address: await coordinator.#door.listen(address), secret: options.secret }];
    } catch (cause) {
      await coordinator.close();
      throw new RendezvousError(
        `Rank 0 (${options.root.process.host}) could not listen on ${address} for the other ranks: ${(cause as Error).message}. ` +
          "Another program may hold this port: start again, or name another one in SHARDRUN_COORDINATOR.",
        { rank: 0, host: options.root.process.host, cause },
      );
    }
  }

  /** Ends the gathering because rank 0 ends with this code; whoever has joined, and whoever comes, is told. */
  abandon(exitCode: number): void {
    this.#fail(describeEnd(0, exitCode, this.#options.root.process));
  }

  /** Waits until every rank has ended its stream, for a short while, so that no last word is lost; then stops. */
  async close(): Promise<void> {
    clearTimeout(this.#startTimer);
    if (this.#members.size > 0) {
      await new Promise<void>((resolve) => {
        this.#onAllGone = resolve;
        setTimeout(resolve, FAREWELL_LIMIT_MS);
      });
    }
    this.#stopHeartbeat();
    this.#door.close();
    this.#server.forceShutdown();
  }

  /** Whether the stream proves the run's secret; turns it away if not. */
  #admits(stream: ServerDuplexStream<unknown, unknown>): boolean {
    const peer = stream.getPeer();
    if (checkProof(stream.metadata, this.#options.secret)) {
      this.#door.admit(peer);
      return true;
    }
    this.#door.report(peer);
    stream.emit("error", { code: status.UNAUTHENTICATED, details: "the secret of this run was not proved" });
    return false;
  }

  #serve(stream: Stream): void {
    let member: Member | undefined;
    stream.on("data", ({ body }: RankMessage) => {
      if (member !== undefined) this.#receive(member, body);
      else if (body?.$case === "join") member = this.#admit(stream, body.value);
    });
    const end = () => {
      if (member !== undefined) this.#release(member);
      member = undefined;
    };
    stream.on("end", end);
    stream.on("cancelled", end);
    stream.on("error", end);
  }

  /** The newcomer becomes a member, or it and, while the world is incomplete, everyone is told why not. */
  #admit(stream: Stream, join: Join): Member | undefined {
    const { root } = this.#options;
    const misfit = describeMisfit(join, root, root.process, this.#members.get(join.rank)?.join.process);
    const refusal: Body | undefined =
      this.#refusal ?? (misfit === undefined ? undefined : { $case: "refused", value: { message: misfit } });
    if (refusal !== undefined && !this.#isComplete) this.#refuseAll(refusal);
    if (refusal !== undefined) {
      stream.write({ body: refusal });
      stream.end();
      return undefined;
    }
    const member = { join, stream, silence: new SilenceMeter(), isLeaving: false };
    this.#members.set(join.rank, member);
    stream.write({ body: { $case: "welcome", value: { root: root.process } } });
    if (this.#missingRanks().length === 0) this.#announceWorld();
    return member;
  }

  #announceWorld(): void {
    this.#isComplete = true;
    clearTimeout(this.#startTimer);
    const peers = [...this.#members.values()]
      .map(({ join: { rank, process, dataAddress } }) => ({ rank, process, dataAddress }))
      .sort((a, b) => a.rank - b.rank);
    this.#tellAll({ $case: "world", value: { peers } });
  }

  #missingRanks(): number[] {
    const ranks = Array.from({ length: this.#options.root.worldSize }, (_, rank) => rank);
    return ranks.filter((rank) => !this.#members.has(rank));
  }

  #giveUp(): void {
    const elapsedMs = Math.round(performance.now() - this.#startedMs);
    this.#refuseAll({ $case: "incomplete", value: { missingRanks: this.#missingRanks(), elapsedMs } });
  }

  /** Ends the gathering for good; the members end their streams themselves. */
  #refuseAll(refusal: Body): void {
    if (this.#refusal !== undefined) return;
    this.#refusal = refusal;
    clearTimeout(this.#startTimer);
    this.#tellAll(refusal);
  }

  #receive(member: Member, body: RankMessage["body"]): void {
    member.silence.reset();
    if (body?.$case === "leave") this.#bidFarewell(member, body.value.exitCode);
    if (body?.$case === "failure") {
      const accused = this.#members.get(body.value.rank);
      this.#fail({ ...body.value, process: accused?.join.process });
    }
  }

  /** Who has said nothing for long is lost. */
  #look(wakingMs: number): void {
    const { silenceLimitMs } = this.#options.timing;
    for (const member of this.#members.values()) {
      member.silence.add(wakingMs);
      const { silentMs } = member.silence;
      if (silentMs >= silenceLimitMs) this.#lose(member, "it stopped answering", { frozen: true });
    }
  }

  /** The rank says goodbye: the others hear of it, then its own stream is ended, by which it knows that they were told. */
  #bidFarewell(member: Member, exitCode: number): void {
    const { rank, process } = member.join;
    member.isLeaving = true;
    if (rank === 0) this.#rootHasLeft = true;
    if (exitCode === 0) this.#tellAll({ $case: "left", value: { rank } });
    else this.#fail(describeEnd(rank, exitCode, process));
    member.stream.end();
  }

  #release(member: Member): void {
    this.#members.delete(member.join.rank);
    member.stream.end();
    // Once the run is over, the end of a stream says no more than that its rank has heard so.
    const isExpected = member.isLeaving || this.#rootHasLeft || this.#hasFailed || this.#refusal !== undefined;
    if (!isExpected) {
      this.#lose(
        member,
        this.#isComplete ? "its connection closed" : "its connection closed before all ranks had joined",
      );
    }
    if (this.#members.size === 0) this.#onAllGone?.();
  }

  #lose(member: Member, reason: string, { frozen = false } = {}): void {
    const { rank, process } = member.join;
    this.#fail({ rank, reason, elapsedMs: member.silence.silentMs, frozen, process });
  }

  /** Tells everyone, the accused included. Only the first failure counts: later ones are its consequences. */
  #fail(failure: Failure): void {
    if (this.#hasFailed) return;
    this.#hasFailed = true;
    clearTimeout(this.#startTimer);
    const body: Body = { $case: "failed", value: failure };
    if (!this.#isComplete) this.#refusal ??= body;
    this.#tellAll(body);
  }

  #offerTunnel(rank: number, tunnel: number): boolean {
    const member = this.#members.get(rank);
    member?.stream.write({ body: { $case: "tunnelOffer", value: { tunnel } } });
    return member !== undefined;
  }

  #tellAll(body: Body): void {
    for (const member of this.#members.values()) {
      if (!member.isLeaving) member.stream.write({ body });
    }
  }
}

function describeEnd(rank: number, exitCode: number, process: Process | undefined): Failure {
  return { rank, reason: `it ended with exit code ${exitCode}`, elapsedMs: 0, frozen: false, process };
}
