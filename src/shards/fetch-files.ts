/**
 * A fetching rank's side of streaming: what its host's mirror lacks comes from rank 0, chunk by chunk, each checked before the
 * mirror's journal names it. One chunk is written while the next is on its way.
 */
import type { Communicator } from "../collective/native.ts";
import { ROOT_RANK } from "../environment.ts";
import { ModelError } from "../errors.ts";
import { countBytes } from "./byte-ranges.ts";
import { cutIntoChunks, digestOf, type Chunk } from "./chunks.ts";
import { formatByteSize } from "./cache-settings.ts";
import type { Mirror } from "./mirror.ts";
import type { HeldMirror } from "./mirror-store.ts";
import type { Offer } from "./offer.ts";
import { ChunkBuffer, GO_ON, PATIENT, sendRequest, STOP, WINDOW, type Request } from "./transfer-wire.ts";

/** Chunks that arrive damaged are asked for again; a network that damages them again and again is of no use. */
const MAX_ATTEMPTS = 3;

export class Fetch {
  readonly #communicator: Communicator;
  readonly #held: HeldMirror;
  readonly #buffers = [new ChunkBuffer(), new ChunkBuffer()] as const;

  constructor(communicator: Communicator, held: HeldMirror) {
    this.#communicator = communicator;
    this.#held = held;
  }

  /**
   * Completes the wanted ranges of each file.
   * @throws {ModelError} when the disk is full, or rank 0 cannot read its files any more; end() is still to be called
   */
  async complete(wanted: Request): Promise<void> {
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt += 1) {
      const missing = this.#mirror.missing(wanted);
      const numBytes = missing.reduce((sum, ranges) => sum + countBytes(ranges), 0);
      if (numBytes === 0) return;
      this.#makeRoom(numBytes);
      await sendRequest(this.#communicator, ROOT_RANK, missing);
      await this.#receiveChunks([...cutIntoChunks(missing)]);
    }
    throw new ModelError(`Weights from rank 0 arrived damaged ${MAX_ATTEMPTS} times. Check the network to its host.`);
  }

  get #mirror(): Mirror {
    return this.#held.mirror;
  }

  #makeRoom(numBytes: number): void {
    const free = this.#held.makeRoom(numBytes);
    if (free >= numBytes) return;
    throw this.#fullError(`${formatByteSize(numBytes)} are missing there, and ${formatByteSize(free)} are free`);
  }

  async #receiveChunks(chunks: readonly Chunk[]): Promise<void> {
    let failure: unknown;
    let numExpected = chunks.length;
    const receive = (index: number): Promise<void> =>
      index < numExpected
        ? this.#communicator.recv(this.#buffer(index).message(chunks[index]!.bytes), ROOT_RANK, PATIENT)
        : Promise.resolve();
    let receiving = receive(0);
    for (let index = 0; index < numExpected; index += 1) {
      await receiving;
      receiving = receive(index + 1);
      receiving.catch(() => undefined); // waited for below
      if (failure === undefined) {
        try {
          this.#keep(chunks[index]!, this.#buffer(index));
        } catch (error) {
          failure = error;
          numExpected = Math.min(numExpected, index + WINDOW);
        }
      }
      const answer = Uint8Array.of(failure === undefined ? GO_ON : STOP);
      await Promise.all([receiving, this.#communicator.send(answer, ROOT_RANK, PATIENT)]);
    }
    if (failure !== undefined) throw failure as Error;
  }

  #buffer(index: number): ChunkBuffer {
    return this.#buffers[index % 2]!;
  }

  #keep(chunk: Chunk, buffer: ChunkBuffer): void {
    const data = buffer.data(chunk.bytes);
    if (!buffer.isGood) throw new ModelError("Rank 0 cannot read the model any more.");
    if (!digestOf(data).equals(buffer.digest)) return; // missing still, so asked for again
    try {
      this.#mirror.write(chunk, data, buffer.digest);
    } catch (cause) {
      const { code, message } = cause as NodeJS.ErrnoException;
      if (code === "ENOSPC" || code === "EDQUOT") throw this.#fullError("the disk is full");
      throw new ModelError(`Writing the mirror of the model in ${this.#mirror.directory} failed: ${message}.`, {
        cause,
      });
    }
  }

  #fullError(reason: string): ModelError {
    return new ModelError(
      `Mirroring the model in ${this.#mirror.directory} failed: ${reason}. Make room, or let SHARDRUN_CACHE name a directory on a larger disk.`,
    );
  }
}

/** Lets this rank's turn pass: rank 0 goes on with the others. */
export function fetchNothing(communicator: Communicator, offer: Offer): Promise<void> {
  return sendRequest(
    communicator,
    ROOT_RANK,
    offer.files.map(() => []),
  );
}

/** Tells rank 0 that this rank wants nothing more. */
export function endFetching(communicator: Communicator): Promise<void> {
  return sendRequest(communicator, ROOT_RANK, undefined);
}
