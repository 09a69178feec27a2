/**
 * The rendezvous thread: gRPC and heartbeats live here, away from the script's event loop, so that a script which computes for a
 * minute is not taken for dead. Runs rank 0's coordinator and every rank's client, and ends when the rank has left.
 */
import { createRequire } from "node:module";
import { type MessagePort, parentPort, workerData } from "node:worker_threads";
import { logVerbosity, type ServerCredentials, setLogVerbosity } from "@grpc/grpc-js";
import { sayAtOnce } from "../log.ts";
import { type CoordinatorAddress, removeAddressFile, writeAddressFile } from "./address-file.ts";
import { RendezvousClient } from "./client.ts";
import { Bridge } from "./bridge.ts";
import { Coordinator } from "./coordinator.ts";
import type { Join, Peer, Process } from "./generated/rendezvous.ts";
import { describeSelf, tellHostsApart } from "./process-identity.ts";
import { createSecret } from "./secret.ts";
import { loadCredentials } from "./tls.ts";
import type { WorkerEvent, WorkerOptions, WorkerRequest, WorldPeer } from "./worker-messages.ts";

// What matters of gRPC's own lines is in our errors.
setLogVerbosity(logVerbosity.NONE);
// gRPC gives TLS an IP address as the server's name, which Node deprecates.
process.noDeprecation = true;

const { environment, meetingPoint, dataAddress, timing } = workerData as WorkerOptions;
const { identity } = environment;
const owner: MessagePort = parentPort!;
const { version } = createRequire(import.meta.url)("../../package.json") as { version: string };

let coordinator: Coordinator | undefined;
/** Takes rank 0's address out of the file in which the others look for it. */
let withdrawAddress = () => {};
let client: RendezvousClient | undefined;
const bridge = new Bridge(dataAddress, () => client!.openTunnel());
let isEnding = false;

const joining = join();
joining.catch((error: Error) => {
  tell({ kind: "refused", message: error.message });
  void end();
});
owner.on("message", obey);

async function join(): Promise<void> {
  const self = {
    rank: identity.rank,
    worldSize: identity.worldSize,
    source: identity.worldSizeSource,
    version,
    process: describeSelf(identity.host),
    dataAddress,
  };
  const credentials = loadCredentials(environment, meetingPoint);
  client = await RendezvousClient.join({
    identity,
    meetingPoint: identity.rank === 0 ? { kind: "address", ...(await listen(self, credentials.server)) } : meetingPoint,
    credentials: credentials.client,
    join: self,
    startTimeoutMs: environment.startTimeoutMs,
    timing,
    onFailure: (failure) => tell({ kind: "failed", failure }),
    onLeft: (rank) => tell({ kind: "left", rank }),
    onTunnelOffer: (tunnel) => void joining.then(() => bridge.accept(tunnel)),
    log: sayAtOnce,
  });
  withdrawAddress();
  tell({ kind: "joined", world: { peers: describePeers(client.peers) } });
}

/** Opens rank 0's coordinator where the others will look for it. */
async function listen(root: Join & { process: Process }, credentials: ServerCredentials): Promise<CoordinatorAddress> {
  const place = meetingPoint.kind === "address" ? meetingPoint.address : "127.0.0.1:0";
  const [opened, address] = await Coordinator.listen(place, {
    secret: meetingPoint.secret ?? createSecret(),
    credentials,
    startTimeoutMs: environment.startTimeoutMs,
    timing,
    root,
    log: sayAtOnce,
  });
  coordinator = opened;
  if (meetingPoint.kind === "file") {
    const { path } = meetingPoint;
    writeAddressFile(path, address);
    withdrawAddress = () => removeAddressFile(path, address);
  }
  return address;
}

function obey(request: WorkerRequest): void {
  switch (request.kind) {
    case "leave":
      void leave(request.exitCode);
      break;
    case "report":
      client?.reportFailure(request.rank, request.reason);
      break;
    case "openBridge":
      void openBridge(describePeers(client!.peers));
      break;
    case "closeBridge":
      bridge.close();
      break;
  }
}

async function openBridge(peers: readonly WorldPeer[]): Promise<void> {
  const addresses = await bridge.listen(peers.map(({ rank }) => rank));
  tell({ kind: "bridged", world: { peers: peers.map((peer, i) => ({ ...peer, address: addresses[i]! })) } });
}

/** A clean end waits for the world to be complete: ranks that start more slowly would find nobody. Any other calls it off. */
async function leave(exitCode: number): Promise<void> {
  if (exitCode === 0) await joining.catch(() => {});
  else if (client === undefined) coordinator?.abandon(exitCode);
  await client?.leave(exitCode);
  await end();
}

/** Ends this thread. Nothing reaches it then: Node aborts where a process ends while gRPC takes a call in. */
async function end(): Promise<void> {
  if (isEnding) return;
  isEnding = true;
  withdrawAddress();
  await coordinator?.close();
  process.exit(0);
}

function describePeers(peers: readonly Peer[]): WorldPeer[] {
  const hosts = tellHostsApart(peers.map(({ process }) => process!));
  return peers.map(({ rank, process, dataAddress: address }, i) => ({
    rank,
    host: hosts[i]!,
    pid: process!.pid,
    address,
  }));
}

function tell(event: WorkerEvent): void {
  owner.postMessage(event);
}
