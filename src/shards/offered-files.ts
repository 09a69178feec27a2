/**
 * The files that rank 0 offers, open for reading chunks of them. They are read, not mapped: a file that somebody cuts short must
 * end in an error, not kill the process; and no more of the model than some chunks is ever in memory.
 */
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import type { Chunk } from "./chunks.ts";
import { changedError, isInState, stateOf, type Offer } from "./offer.ts";

export class OfferedFiles {
  readonly offer: Offer;
  readonly #paths: readonly string[];
  readonly #descriptors: readonly number[];

  /** @param paths of the offer's files, in its order */
  constructor(offer: Offer, paths: readonly string[]) {
    this.offer = offer;
    this.#paths = paths;
    this.#descriptors = paths.map((path) => openSync(path, "r"));
  }

  /**
   * Reads a chunk's ranges, one after the other.
   * @param into chunk.bytes long
   * @throws {ModelError} when the file is no longer the one that was offered
   */
  read({ file, ranges }: Chunk, into: Uint8Array): void {
    const descriptor = this.#descriptors[file]!;
    let done = 0;
    for (const { begin, end } of ranges) {
      for (let from = begin; from < end;) {
        const count = readSync(descriptor, into, done, end - from, from);
        if (count === 0) throw changedError(this.#paths[file]!);
        done += count;
        from += count;
      }
    }
    if (!isInState(this.offer.files[file]!, stateOf(fstatSync(descriptor, { bigint: true })))) {
      throw changedError(this.#paths[file]!);
    }
  }

  close(): void {
    this.#descriptors.forEach(closeSync);
  }
}
