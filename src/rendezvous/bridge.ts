/**
 * Carries this rank's collectives where only rank 0's port is open: for every peer a unix socket of this process that native code
 * connects to as if it were the peer's, and between the two listeners a tunnel through rank 0. What native code says to a peer it
 * has reached in this way, its proof of the run's secret included, passes unread.
 */
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer, connect, type Server, type Socket } from "node:net";
import type { ClientDuplexStream } from "@grpc/grpc-js";
import type { TunnelMessage } from "./generated/rendezvous.ts";

export type Tunnel = ClientDuplexStream<TunnelMessage, TunnelMessage>;

/** Two of them make up what Node reads at once; well below what the coordinator takes as one message. */
const MESSAGE_BYTES = 32 * 1024;
/** Of an abstract unix socket, as many as the kernel allows: native/transport/socket.cc fills up what is shorter, too. */
const UNIX_NAME_BYTES = 107;
/** Rank 0's end breaks every tunnel: the news of it must be there before native code looks for a cause of its own. */
const NEWS_DELAY_MS = 500;

export class Bridge {
  readonly #listenerAddress: string;
  readonly #openTunnel: () => Tunnel;
  readonly #servers: Server[] = [];

  /** @param listenerAddress where this rank's native code accepts its peers, as it says itself */
  constructor(listenerAddress: string, openTunnel: () => Tunnel) {
    this.#listenerAddress = listenerAddress;
    this.#openTunnel = openTunnel;
  }

  /** Listens for native code that wants to reach a peer: for each of `ranks` the address to hand it. */
  async listen(ranks: readonly number[]): Promise<string[]> {
    const id = randomUUID();
    return Promise.all(
      ranks.map(async (rank) => {
        const name = `shardrun-${id}-to-${rank}`;
        const server = createServer((socket) => this.#join(socket, { $case: "toRank", value: rank }));
        this.#servers.push(server);
        await once(server.listen({ path: abstractPath(name) }), "listening");
        return `unix=${name};tcp=:0`;
      }),
    );
  }

  /** A peer has opened this tunnel to this rank. */
  accept(tunnel: number): void {
    const [, name = ""] = /^unix=(.*);tcp=/.exec(this.#listenerAddress) ?? [];
    this.#join(connect({ path: abstractPath(name) }), { $case: "accept", value: tunnel });
  }

  /** Connections that exist stay. */
  close(): void {
    for (const server of this.#servers) server.close();
  }

  #join(socket: Socket, first: NonNullable<TunnelMessage["body"]>): void {
    const tunnel = this.#openTunnel();
    tunnel.write({ body: first });
    socket.on("error", () => {}); // native code has closed it: "close" follows
    socket.on("data", (bytes: Buffer) => {
      let hasRoom = true;
      for (let start = 0; start < bytes.length; start += MESSAGE_BYTES) {
        const value = bytes.subarray(start, start + MESSAGE_BYTES);
        hasRoom = tunnel.write({ body: { $case: "data", value } });
      }
      if (!hasRoom) socket.pause();
    });
    tunnel.on("drain", () => socket.resume());
    socket.on("close", () => tunnel.end());
    tunnel.on("data", ({ body }: TunnelMessage) => {
      if (body?.$case === "data" && !socket.write(body.value)) tunnel.pause();
    });
    socket.on("drain", () => tunnel.resume());
    tunnel.on("end", () => socket.end());
    tunnel.on("error", () => setTimeout(() => socket.destroy(), NEWS_DELAY_MS).unref());
  }
}

/** An abstract unix socket: no file, gone with its process. */
function abstractPath(name: string): string {
  return `\0${name.padEnd(UNIX_NAME_BYTES, "-")}`;
}
