/**
 * The wire between the launcher and an agent: bytes in, frames out, and back. A frame is
 * [payload bytes: uint32][kind: uint8][rank: uint32][payload], big-endian. Output of ranks travels as raw bytes;
 * everything else as JSON. Both ends share this file, so that neither can drift.
 */
import { InternalError } from "../errors.ts";

/** What a frame can be; a kind's number on the wire is its place in this list. */
const FRAME_KINDS = [
  // agent -> launcher; the first in the list, so that another version is understood when it says which it is
  "hello", // AgentHello: the first frame
  // both ways
  "alive", // the sender is there: between hosts, where a cut cable ends no connection
  // launcher -> agent
  "job", // AgentJob: what to run
  "stdin", // bytes for the rank's standard input, answered by stdinTaken
  "stdinEnd", // the rank's standard input ends here
  "signal", // { signal }: hand this signal on to every rank
  "watchStopped", // ranks wait for each other: look out for those that are stopped
  "terminate", // { graceMs }: SIGTERM to every rank, SIGKILL to what is left after the grace
  // agent -> launcher
  "refused", // Refusal: why no rank was started
  "started", // { pid }: the rank runs
  "joining", // the rank has imported shardrun and waits for the others
  "stdout", // bytes the rank wrote
  "stderr", // bytes the rank wrote
  "stdinTaken", // the rank's standard input took (or dropped) the last bytes: send more
  "exited", // RankExit: the rank's process ended
  "ended", // the rank's last output has been sent and nothing of its process group is left
] as const;

export type FrameKind = (typeof FRAME_KINDS)[number];

export interface Frame {
  readonly kind: FrameKind;
  /** The rank it concerns; 0 where the frame concerns the whole job. */
  readonly rank: number;
  readonly payload: Buffer;
}

/** How often the launcher and an agent on another host hear that the other is there. */
export const ALIVE_INTERVAL_MS = 500;

const HEADER_BYTES = 9;
/** More than any job (command line and environment are limited by the kernel to a few MiB) and any chunk of output. */
const MAX_PAYLOAD_BYTES = 64 * 1024 * 1024;

/** One frame as bytes; an object is sent as JSON. */
export function encodeFrame(kind: FrameKind, rank: number, content: Uint8Array | object = new Uint8Array()): Buffer {
  const payload = content instanceof Uint8Array ? content : Buffer.from(JSON.stringify(content));
  const frame = Buffer.allocUnsafe(HEADER_BYTES + payload.byteLength);
  frame.writeUInt32BE(payload.byteLength, 0);
  frame.writeUInt8(FRAME_KINDS.indexOf(kind), 4);
  frame.writeUInt32BE(rank, 5);
  frame.set(payload, HEADER_BYTES);
  return frame;
}

/** The JSON content of a frame. */
export function decodeContent<T>(frame: Frame): T {
  return JSON.parse(frame.payload.toString("utf8")) as T;
}

/** Cuts a stream of bytes back into frames, whatever the size of its chunks; each byte is copied twice at most. */
export class FrameReader {
  /** What has arrived of the next frame, and perhaps of others after it. */
  #chunks: Buffer[] = [];
  #numBytes = 0;
  /** How many bytes tell more than is known: those of the header, then those of the whole frame. */
  #numNeeded = HEADER_BYTES;

  /**
   * The frames that are complete once `chunk` has arrived.
   * @throws {InternalError} when the bytes are not frames
   */
  *read(chunk: Buffer): Generator<Frame> {
    this.#chunks.push(chunk);
    this.#numBytes += chunk.length;
    while (this.#numBytes >= this.#numNeeded) {
      const bytes = this.#chunks.length === 1 ? this.#chunks[0]! : Buffer.concat(this.#chunks);
      const { kind, rank, end } = decodeHeader(bytes);
      const isComplete = bytes.length >= end;
      const rest = isComplete ? bytes.subarray(end) : bytes;
      this.#chunks = rest.length > 0 ? [rest] : [];
      this.#numBytes = rest.length;
      this.#numNeeded = isComplete ? HEADER_BYTES : end;
      if (isComplete) yield { kind, rank, payload: bytes.subarray(HEADER_BYTES, end) };
    }
  }
}

/** @throws {InternalError} when this is no header of a frame */
function decodeHeader(bytes: Buffer): { kind: FrameKind; rank: number; end: number } {
  const payloadBytes = bytes.readUInt32BE(0);
  const kindNumber = bytes.readUInt8(4);
  const kind = FRAME_KINDS[kindNumber];
  if (kind === undefined || payloadBytes > MAX_PAYLOAD_BYTES) {
    throw new InternalError(
      `The launcher and its agent do not understand each other: received a frame of kind ` +
        `${kindNumber} with ${payloadBytes} bytes. Do both run the same version of shardrun?`,
    );
  }
  return { kind, rank: bytes.readUInt32BE(5), end: HEADER_BYTES + payloadBytes };
}
