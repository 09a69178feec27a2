/**
 * Rank 0's open port, behind which the coordinator sits: whoever connects has a moment to prove the run's secret with a call, as at
 * the data ports (native/transport/listener.cc). Connections come in; those that do not prove it are dropped, whatever they say or
 * whether they say nothing, and so few of them wait at once that their number is no burden.
 */
import { once } from "node:events";
import { createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { joinHostPort, splitHostPort } from "./host-port.ts";

/** Generous to a rank that sets up TLS on a busy machine; one that is dropped all the same tries again. */
export const PROOF_LIMIT_MS = 3000;
const NUM_LOOKS = 12;
/** One more, and the one that has waited longest goes. */
export const MOST_STRANGERS = 64;

export interface DoorOptions {
  /** Serves a connection: gRPC, with or without TLS. */
  readonly serve: (connection: Socket) => void;
  /** Called once, with the first that had to go. */
  readonly onFirstStranger: (peer: string) => void;
}

/** A connection that has not proven itself yet. */
interface Stranger {
  readonly socket: Socket;
  /** Looks are counted, not time: what this process slept through, or had no time for, is nobody's fault. */
  numLooks: number;
}

export class Door {
  readonly #options: DoorOptions;
  readonly #server: Server;
  readonly #strangers = new Map<string, Stranger>();
  readonly #timer: NodeJS.Timeout;
  #hasReported = false;

  constructor(options: DoorOptions) {
    this.#options = options;
    this.#server = createServer({ noDelay: true }, (socket) => this.#receive(socket));
    this.#timer = setInterval(() => this.#look(), PROOF_LIMIT_MS / NUM_LOOKS);
  }

  /**
   * Listens at host:port, port 0 meaning any free one; resolves to the address in use.
   * @throws what the system says when that is not possible
   */
  async listen(address: string): Promise<string> {
    const { host, port } = splitHostPort(address);
    await once(this.#server.listen({ host, port }), "listening"); // rejects with the server's 'error'
    return joinHostPort(host, (this.#server.address() as AddressInfo).port);
  }

  /** This peer, "address:port" as gRPC names it, has proven the secret: its connection stays. */
  admit(peer: string): void {
    this.#strangers.delete(peer);
  }

  /** This peer has shown that it does not know the secret; its connection may still hear so. */
  report(peer: string): void {
    if (this.#hasReported) return;
    this.#hasReported = true;
    this.#options.onFirstStranger(peer);
  }

  /** Nobody comes in any more; those who were let in stay. */
  close(): void {
    clearInterval(this.#timer);
    this.#server.close();
    for (const { socket } of this.#strangers.values()) socket.destroy();
    this.#strangers.clear(); // what the end of the run cuts short is no finding
  }

  #receive(socket: Socket): void {
    const { remoteAddress, remotePort } = socket;
    if (remoteAddress === undefined) return void socket.destroy(); // has gone already
    const peer = `${remoteAddress}:${remotePort}`;
    const [oldest] = this.#strangers.keys();
    if (this.#strangers.size === MOST_STRANGERS) this.#drop(oldest!);
    this.#strangers.set(peer, { socket, numLooks: 0 });
    socket.on("error", () => {}); // "close" follows
    socket.once("close", () => {
      if (this.#strangers.get(peer)?.socket !== socket) return;
      this.#strangers.delete(peer);
      if (socket.bytesRead > 0) this.report(peer); // gRPC hung up on what it did not understand
    });
    this.#options.serve(socket);
  }

  #look(): void {
    for (const [peer, stranger] of this.#strangers) {
      stranger.numLooks += 1;
      if (stranger.numLooks > NUM_LOOKS) this.#drop(peer);
    }
  }

  #drop(peer: string): void {
    const stranger = this.#strangers.get(peer);
    this.#strangers.delete(peer);
    this.report(peer);
    stranger?.socket.destroy();
  }
}
