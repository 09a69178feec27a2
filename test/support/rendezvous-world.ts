/**
 * A coordinator and its clients in one process, over real sockets: worlds go in, ranks come out with what they have been told.
 * Everything is closed after each test.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { logVerbosity, setLogVerbosity } from "@grpc/grpc-js";
import { afterEach, expect } from "@jest/globals";
import type { WorldIdentity } from "../../src/environment.ts";
import { RendezvousError } from "../../src/errors.ts";
import type { CoordinatorAddress } from "../../src/rendezvous/address-file.ts";
import { RendezvousClient } from "../../src/rendezvous/client.ts";
import { Coordinator } from "../../src/rendezvous/coordinator.ts";
import type { RankFailure } from "../../src/rendezvous/failure.ts";
import type { MeetingPoint } from "../../src/rendezvous/meeting-point.ts";
import { createSecret } from "../../src/rendezvous/secret.ts";
import { PLAIN_CREDENTIALS } from "../../src/rendezvous/tls.ts";
import { openCable } from "./cable.ts";

setLogVerbosity(logVerbosity.NONE);

export const TIMING = { intervalMs: 20, silenceLimitMs: 200 };

/** What is still to be closed, last first. */
export const cleanups: (() => unknown)[] = [];

/** To be called by each file of tests: closes what a test has left open. */
export function closeAfterEachTest(): void {
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  });
}

/** Processes of these tests are told apart by pid 100 + rank; none of them can be fenced. */
export function processOf(rank: number, pid = 100 + rank) {
  return { host: "hosta", machine: "", pid, startTime: 0n };
}

function identityOf(rank: number, worldSize: number): WorldIdentity {
  return {
    rank,
    worldSize,
    localRank: rank,
    localWorldSize: worldSize,
    host: "hosta",
    engine: "openmpi",
    source: "OMPI_COMM_WORLD_RANK",
    worldSizeSource: "OMPI_COMM_WORLD_SIZE",
  };
}

export function joinOf(rank: number, worldSize: number) {
  return {
    rank,
    worldSize,
    source: "OMPI_COMM_WORLD_SIZE",
    version: "1.0.0",
    process: processOf(rank),
    dataAddress: `data-${rank}`,
  };
}

export async function openCoordinator(worldSize: number, { startTimeoutMs = 5000, secret = createSecret() } = {}) {
  const lines: string[] = [];
  const [coordinator, address] = await Coordinator.listen("127.0.0.1:0", {
    secret,
    credentials: PLAIN_CREDENTIALS.server,
    startTimeoutMs,
    timing: TIMING,
    root: joinOf(0, worldSize),
    log: (line) => lines.push(line),
  });
  cleanups.push(() => coordinator.close());
  return { coordinator, address, lines };
}

/** One rank, and what it has been told. */
export interface Rank {
  readonly client: RendezvousClient;
  readonly failures: RankFailure[];
  readonly ranksLeft: number[];
  /** Tunnels that others have opened to it. */
  readonly offers: number[];
}

export async function joinAs(
  rank: number,
  worldSize: number,
  target: MeetingPoint | CoordinatorAddress,
  { startTimeoutMs = 5000, join: joinChanges = {} } = {},
): Promise<Rank> {
  const failures: RankFailure[] = [];
  const ranksLeft: number[] = [];
  const offers: number[] = [];
  const client = await RendezvousClient.join({
    identity: identityOf(rank, worldSize),
    meetingPoint: "kind" in target ? target : { kind: "address", ...target },
    credentials: PLAIN_CREDENTIALS.client,
    join: { ...joinOf(rank, worldSize), ...joinChanges },
    startTimeoutMs,
    timing: TIMING,
    onFailure: (failure) => failures.push(failure),
    onLeft: (left) => ranksLeft.push(left),
    onTunnelOffer: (tunnel) => offers.push(tunnel),
    log: () => {},
  });
  cleanups.push(() => client.leave(0));
  return { client, failures, ranksLeft, offers };
}

/** A way to the coordinator that the test can break. */
export async function openCableTo({ address, secret }: CoordinatorAddress) {
  const cable = await openCable(Number(address.split(":")[1]));
  cleanups.push(() => cable.close());
  return { ...cable, address: { address: cable.address, secret } };
}

/** Like the promise, with its rejection as a value; the test that waits for it later must not be ended by it. */
export function settle<T>(promise: Promise<T>): Promise<T | Error> {
  return promise.catch((error: Error) => error);
}

export async function until(condition: () => boolean): Promise<void> {
  const deadlineMs = performance.now() + 5000;
  while (!condition() && performance.now() < deadlineMs) await sleep(5);
  expect(condition()).toBe(true);
}

export function refusal(message: string) {
  return expect.objectContaining({ name: RendezvousError.name, code: "ERR_SHARDRUN_RENDEZVOUS", message });
}
