/** Ranks of one process whose collectives reach each other through rank 0's coordinator alone, as under SHARDRUN_COLLECTIVES=grpc. */
import { logVerbosity, setLogVerbosity } from "@grpc/grpc-js";
import type { PeerAddress } from "../../src/collective/native.ts";
import { Bridge } from "../../src/rendezvous/bridge.ts";
import { RendezvousClient } from "../../src/rendezvous/client.ts";
import { Coordinator } from "../../src/rendezvous/coordinator.ts";
import { DEFAULT_TIMING } from "../../src/rendezvous/heartbeat.ts";
import { createSecret } from "../../src/rendezvous/secret.ts";
import { PLAIN_CREDENTIALS } from "../../src/rendezvous/tls.ts";

setLogVerbosity(logVerbosity.NONE);

export interface BridgedWorld {
  /** [rank] the peers, each at the address at which that rank finds its bridge to them. */
  readonly peersOf: readonly (readonly PeerAddress[])[];
  close(): Promise<void>;
}

/** @param peers at the addresses of their own listeners */
export async function bridgeWorld(peers: readonly PeerAddress[]): Promise<BridgedWorld> {
  const worldSize = peers.length;
  const common = { startTimeoutMs: 5000, timing: DEFAULT_TIMING, log: () => {} };
  const joinOf = ({ rank, host, address }: PeerAddress) => ({
    rank,
    worldSize,
    source: "SHARDRUN_WORLD_SIZE",
    version: "1.0.0",
    process: { host, machine: "", pid: 100 + rank, startTime: 0n },
    dataAddress: address,
  });
  const [coordinator, address] = await Coordinator.listen("127.0.0.1:0", {
    ...common,
    secret: createSecret(),
    credentials: PLAIN_CREDENTIALS.server,
    root: joinOf(peers[0]!),
  });
  const bridges: Bridge[] = [];
  const clients = await Promise.all(
    peers.map(({ rank, host }) =>
      RendezvousClient.join({
        ...common,
        identity: {
          rank,
          worldSize,
          localRank: rank,
          localWorldSize: worldSize,
          host,
          engine: "shardrun",
          source: "SHARDRUN_RANK",
          worldSizeSource: "SHARDRUN_WORLD_SIZE",
        },
        meetingPoint: { kind: "address", ...address },
        credentials: PLAIN_CREDENTIALS.client,
        join: joinOf(peers[rank]!),
        onFailure: () => {},
        onLeft: () => {},
        onTunnelOffer: (tunnel) => bridges[rank]!.accept(tunnel),
      }),
    ),
  );
  const ranks = peers.map(({ rank }) => rank);
  bridges.push(...ranks.map((rank) => new Bridge(peers[rank]!.address, () => clients[rank]!.openTunnel())));
  const addresses = await Promise.all(bridges.map((bridge) => bridge.listen(ranks)));
  return {
    peersOf: addresses.map((own) => peers.map((peer) => ({ ...peer, address: own[peer.rank]! }))),
    close: async () => {
      for (const bridge of bridges) bridge.close();
      await Promise.all(clients.map((client) => client.leave(0)));
      await coordinator.close();
    },
  };
}
