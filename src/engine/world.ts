/**
 * Joins this rank to its world: opens the data plane's listener, meets the other ranks, connects the communicator.
 * In: who this process is (environment.ts). Out: a communicator over all ranks, and the membership that watches over them.
 */
import { randomUUID } from "node:crypto";
import { native, type Communicator } from "../collective/native.ts";
import { findRuntimeLibrary } from "../collective/runtime-library.ts";
import type { Environment } from "../environment.ts";
import { sayAtOnce } from "../log.ts";
import { describeFailure } from "../rendezvous/failure.ts";
import { chooseMeetingPoint } from "../rendezvous/meeting-point.ts";
import { Membership } from "../rendezvous/membership.ts";
import { chooseOwnAddress } from "../rendezvous/own-address.ts";
import { userSecret } from "../rendezvous/user-secret.ts";

/** Who this rank is and how it finds the others. */
export type WorldSettings = Environment;

/** A collective waits this long for a peer that is alive but does not come; a dead or frozen one is noticed much earlier. */
const COLLECTIVE_TIMEOUT_MS = 120_000;

export interface ConnectedWorld {
  readonly communicator: Communicator;
  /** The host of each rank. */
  readonly hosts: readonly string[];
  /** Undefined in a world of one. */
  readonly membership: Membership | undefined;
  /** Ends all collectives of this world, and no others of the process. */
  readonly abort: (message: string, peer: number) => void;
}

/**
 * Resolves when every rank is connected to every other.
 * @param leaving aborted, with the exit code as its reason, when this rank ends meanwhile
 * @throws {RendezvousError} when ranks are missing, do not fit together, or do not know how to meet
 */
export async function connectWorld(settings: WorldSettings, leaving: AbortSignal): Promise<ConnectedWorld> {
  const addon = native();
  addon.openRuntime(findRuntimeLibrary(settings.onnxRuntimePath));
  if (settings.kernels !== undefined) addon.chooseKernels(settings.kernels);
  const { rank, worldSize } = settings.identity;
  const group = { id: 0, epoch: 0, rank, worldSize, transport: settings.collectives, timeoutMs: COLLECTIVE_TIMEOUT_MS };
  if (worldSize === 1) {
    const { host } = settings.identity;
    const communicator = await addon.connect(undefined, { ...group, peers: [{ rank, host, address: "" }] });
    const abort = (message: string, peer: number): void => communicator.abort(message, peer);
    return { communicator, hosts: [host], membership: undefined, abort };
  }
  const meetingPoint = await chooseMeetingPoint(settings);
  const secret = meetingPoint.secret ?? userSecret();
  const isBridged = settings.collectives === "grpc";
  const tcpHost = isBridged ? "127.0.0.1" : await chooseOwnAddress(settings, meetingPoint);
  const onFirstStranger = (stranger: string): void =>
    sayAtOnce(`rank ${rank} turned away ${stranger}, which did not prove this run's secret (said once).`);
  const listener = addon.listen({ runId: randomUUID(), rank, tcpHost, secret, onFirstStranger });
  const membership = await Membership.join({
    environment: settings,
    meetingPoint: { ...meetingPoint, secret },
    dataAddress: listener.address,
    leaving,
  });
  const abort = (message: string, peer: number): void => listener.abort(message, peer);
  membership.onFailure((failure) => abort(describeFailure(failure), failure.rank));
  const { peers } = isBridged ? await membership.openBridge() : membership.world;
  const communicator = await addon.connect(listener, { ...group, peers });
  listener.close(); // everyone has come
  if (isBridged) membership.closeBridge();
  return { communicator, hosts: membership.world.peers.map((peer) => peer.host), membership, abort };
}
