/**
 * How rank 0 and a rank that fetches talk, over the channel that already joins them. In rounds:
 *
 *     fetcher  ->  rank 0    a request: which ranges of which files; or the end
 *     rank 0   ->  fetcher   the chunks of these ranges, in order: each a header, then its bytes
 *     fetcher  ->  rank 0    after each chunk one byte: go on, or stop
 *
 * Rank 0 is at most WINDOW chunks ahead of the last answer that it has read, so a "stop" to chunk k means that chunk k + WINDOW
 * is not sent. Either side can fail without the other waiting for bytes that never come.
 */
import { receiveValue, sendValue } from "../collective/messages.ts";
import type { CallOptions, Communicator } from "../collective/native.ts";
import { InternalError } from "../errors.ts";
import { decodeRanges, encodeRanges, type ByteRange, type Stride } from "./byte-ranges.ts";
import { CHUNK_BYTES, DIGEST_BYTES } from "./chunks.ts";
import type { Offer } from "./offer.ts";

export const WINDOW = 8;
export const GO_ON = 0;
export const STOP = 1;

/** Of each file of the offer, the wanted ranges; undefined: nothing more is wanted. */
export type Request = readonly (readonly ByteRange[])[];

/** Nobody knows how long the other side computes, or how slow its disk is; that it is lost, the channel tells. */
export const PATIENT: CallOptions = { label: "weights", timeoutMs: 0 };

export function sendRequest(communicator: Communicator, peer: number, request: Request | undefined): Promise<void> {
  return sendValue(communicator, request?.map(encodeRanges) ?? null, peer, PATIENT);
}

/** @throws {InternalError} when a peer asks for what was not offered */
export async function receiveRequest(
  communicator: Communicator,
  peer: number,
  offer: Offer,
): Promise<Request | undefined> {
  const strides = await receiveValue<readonly (readonly Stride[])[] | null>(communicator, peer, PATIENT);
  const request = strides?.map(decodeRanges);
  const isOffered = request?.every((ranges, file) =>
    ranges.every(({ begin, end }) => begin >= 0 && begin < end && end <= (offer.files[file]?.bytes ?? 0)),
  );
  if (isOffered === false) {
    throw new InternalError(`Rank ${peer} asked for bytes of the model that were not offered.`, { rank: peer });
  }
  return request;
}

/** A chunk on the wire: [status, digest, bytes], in memory that is used again for every second chunk. */
export class ChunkBuffer {
  readonly #memory = new Uint8Array(HEADER_BYTES + CHUNK_BYTES);
  readonly #status = new Uint32Array(this.#memory.buffer, 0, 1);
  readonly digest = Buffer.from(this.#memory.buffer, STATUS_BYTES, DIGEST_BYTES);

  /** Whether the sender could read the bytes. */
  get isGood(): boolean {
    return this.#status[0] === GO_ON;
  }

  set isGood(good: boolean) {
    this.#status[0] = good ? GO_ON : STOP;
  }

  data(numBytes: number): Uint8Array {
    return this.#memory.subarray(HEADER_BYTES, HEADER_BYTES + numBytes);
  }

  message(numBytes: number): Uint8Array {
    return this.#memory.subarray(0, HEADER_BYTES + numBytes);
  }
}

const STATUS_BYTES = 4;
const HEADER_BYTES = STATUS_BYTES + DIGEST_BYTES;
