/**
 * What travels at a time, and what a journal notes at a time: some ranges of one file, a chunk's bytes in all.
 * Sender and receiver cut the same request in the same way, so that a chunk needs no description on the wire.
 */
import { createHash } from "node:crypto";
import type { ByteRange } from "./byte-ranges.ts";

/** Large enough that the work per chunk does not count, small enough for several hosts to take turns. */
export const CHUNK_BYTES = 1 << 20;

/** Bytes of a chunk's digest. */
export const DIGEST_BYTES = 16;

/** Ranges of one file. */
export interface Chunk {
  /** Index into the offered files. */
  readonly file: number;
  readonly ranges: readonly ByteRange[];
  /** All ranges together: at most CHUNK_BYTES. */
  readonly bytes: number;
}

/** Cuts ranges of each file (index = file) into chunks, in order. */
export function* cutIntoChunks(request: readonly (readonly ByteRange[])[]): Generator<Chunk, void, undefined> {
  for (const [file, wanted] of request.entries()) {
    let ranges: ByteRange[] = [];
    let bytes = 0;
    for (const { begin, end } of wanted) {
      for (let from = begin; from < end;) {
        const to = Math.min(end, from + CHUNK_BYTES - bytes);
        ranges.push({ begin: from, end: to });
        bytes += to - from;
        from = to;
        if (bytes < CHUNK_BYTES) continue;
        yield { file, ranges, bytes };
        [ranges, bytes] = [[], 0];
      }
    }
    if (bytes > 0) yield { file, ranges, bytes };
  }
}

/** What tells whether a chunk's bytes are those that were sent. */
export function digestOf(data: Uint8Array): Buffer {
  return createHash("sha256").update(data).digest().subarray(0, DIGEST_BYTES);
}
