/** Ranks of one process, each with its own listener and communicator, connected over the real transport. */
import { randomUUID } from "node:crypto";
import { native, type Communicator, type TransportKind } from "../../src/collective/native.ts";
import { bridgeWorld } from "./bridged-world.ts";

export interface CommunicatorWorld {
  readonly communicators: readonly Communicator[];
  /** Runs `body` for every rank at once; the results in rank order. */
  run<Result>(body: (communicator: Communicator, rank: number) => Promise<Result>): Promise<Result[]>;
  /** The same, with the error of each rank, or undefined. */
  errors(body: (communicator: Communicator, rank: number) => Promise<unknown>): Promise<unknown[]>;
  /** As membership does when a rank is lost: through the listener of the rank `rank`. */
  abort(rank: number, message: string, peer: number): void;
  close(): Promise<void>;
}

/**
 * @param transport "local" for a world of one
 * @param hosts what each rank takes for its host; they are all this one
 */
export async function connectWorld(
  worldSize: number,
  transport: TransportKind | "local",
  timeoutMs = 20_000,
  hosts: readonly string[] = new Array<string>(worldSize).fill("hosta"),
): Promise<CommunicatorWorld> {
  const runId = randomUUID();
  const ranks = Array.from({ length: worldSize }, (_, rank) => rank);
  const secret = new Uint8Array(32).fill(7);
  const listeners =
    transport === "local" ? [] : ranks.map((rank) => native().listen({ runId, rank, tcpHost: "127.0.0.1", secret }));
  const peers = ranks.map((rank) => ({ rank, host: hosts[rank]!, address: listeners[rank]?.address ?? "" }));
  const bridged = transport === "grpc" ? await bridgeWorld(peers) : undefined;
  const communicators = await Promise.all(
    ranks.map((rank) =>
      native().connect(listeners[rank], {
        id: 1,
        epoch: 1,
        rank,
        worldSize,
        peers: bridged?.peersOf[rank] ?? peers,
        transport: transport === "local" ? "auto" : transport,
        timeoutMs,
      }),
    ),
  );
  return {
    communicators,
    run: (body) => Promise.all(communicators.map(body)),
    errors: async (body) =>
      (await Promise.allSettled(communicators.map(body))).map((outcome) =>
        outcome.status === "rejected" ? (outcome.reason as unknown) : undefined,
      ),
    abort: (rank, message, peer) => listeners[rank]!.abort(message, peer),
    close: async () => {
      await Promise.all(communicators.map((communicator) => communicator.close()));
      for (const listener of listeners) listener.close();
      await bridged?.close();
    },
  };
}
