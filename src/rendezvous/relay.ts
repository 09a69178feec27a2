/**
 * Rank 0's part in connections between ranks that reach nobody but rank 0: one rank opens a tunnel to another, the other is told
 * and accepts it, and from then on what comes from either goes to the other, in order, as fast as that one takes it.
 */
import type { ServerDuplexStream } from "@grpc/grpc-js";
import type { TunnelMessage } from "./generated/rendezvous.ts";

type Stream = ServerDuplexStream<TunnelMessage, TunnelMessage>;

export class Relay {
  /** Tunnels that have been offered to a rank which has not accepted them yet. */
  readonly #offered = new Map<number, Stream>();
  readonly #offer: (rank: number, tunnel: number) => boolean;
  #numTunnels = 0;

  /** @param offer tells a rank of a tunnel; false when there is no such rank */
  constructor(offer: (rank: number, tunnel: number) => boolean) {
    this.#offer = offer;
  }

  /** Takes over one end of a tunnel, which says first of which. */
  serve(stream: Stream): void {
    stream.on("error", () => {}); // the end that follows says enough
    stream.once("data", ({ body }: TunnelMessage) => {
      stream.pause();
      if (body?.$case === "toRank") this.#open(stream, body.value);
      else if (body?.$case === "accept") this.#accept(stream, body.value);
      else stream.end();
    });
  }

  #open(stream: Stream, toRank: number): void {
    const tunnel = this.#numTunnels++;
    this.#offered.set(tunnel, stream);
    onEnd(stream, () => this.#offered.delete(tunnel));
    if (!this.#offer(toRank, tunnel)) stream.end();
  }

  #accept(stream: Stream, tunnel: number): void {
    const opener = this.#offered.get(tunnel);
    this.#offered.delete(tunnel);
    if (opener === undefined) {
      stream.end();
    } else {
      forward(opener, stream);
      forward(stream, opener);
    }
  }
}

function forward(from: Stream, to: Stream): void {
  from.on("data", (message: TunnelMessage) => {
    if (!to.write(message)) from.pause();
  });
  to.on("drain", () => from.resume());
  onEnd(from, () => to.end());
  from.resume();
}

/** Ended by its rank, or with it. */
function onEnd(stream: Stream, listener: () => void): void {
  stream.on("end", listener);
  stream.on("cancelled", listener);
}
