/**
 * JSON values between ranks, on top of collectives that want to know sizes: sizes first, then bytes.
 * For rare exchanges (what to load, load status, reports), not for tensors.
 */
import { CollectiveError } from "../errors.ts";
import type { CallOptions, Communicator } from "./native.ts";

/** Far more than any of these exchanges needs; memory is not given away to a length that means nothing. */
const MAX_MESSAGE_BYTES = 256 << 20;
const LENGTH_BYTES = 4;

/**
 * Gathers one JSON value per rank.
 * @returns the values in rank order, the same on every rank.
 */
export async function gatherValues<T>(communicator: Communicator, value: T, options: CallOptions): Promise<T[]> {
  const { rank, worldSize } = communicator;
  const message = encode(value);
  const sizes = new Uint32Array(worldSize);
  sizes[rank] = message.byteLength;
  const ownSize = new Uint8Array(sizes.buffer.slice(rank * LENGTH_BYTES, (rank + 1) * LENGTH_BYTES));
  const bytesPerSize = Array<number>(worldSize).fill(LENGTH_BYTES);
  await communicator.allGather(ownSize, new Uint8Array(sizes.buffer), bytesPerSize, options);
  const numBytes = [...sizes];
  const gathered = new Uint8Array(numBytes.reduce((sum, size) => sum + size, 0));
  await communicator.allGather(message, gathered, numBytes, options);
  const values: T[] = [];
  let offset = 0;
  for (const size of numBytes) {
    values.push(decode(gathered.subarray(offset, offset + size)));
    offset += size;
  }
  return values;
}

/** The root's value, on every rank. Only the root has one to give. */
export async function broadcastValue<T>(
  communicator: Communicator,
  value: T | undefined,
  root: number,
  options: CallOptions,
): Promise<T> {
  const message = communicator.rank === root ? encode(value) : undefined;
  return decode(await communicator.broadcastMessage(message, root, options));
}

/** Sends a JSON value to one rank, which calls receiveValue. */
export async function sendValue(
  communicator: Communicator,
  value: unknown,
  peer: number,
  options: CallOptions,
): Promise<void> {
  const message = encode(value);
  await communicator.send(new Uint8Array(Uint32Array.of(message.byteLength).buffer), peer, options);
  await communicator.send(message, peer, options);
}

/** @throws {CollectiveError} when the peer claims to send more than any message has */
export async function receiveValue<T>(communicator: Communicator, peer: number, options: CallOptions): Promise<T> {
  const length = new Uint8Array(LENGTH_BYTES);
  await communicator.recv(length, peer, options);
  const [numBytes = 0] = new Uint32Array(length.buffer);
  if (numBytes > MAX_MESSAGE_BYTES) {
    throw new CollectiveError(
      `Receiving "${options.label ?? "a message"}" from rank ${peer} failed: it claims to have ${numBytes} bytes, ` +
        `and no such message has more than ${MAX_MESSAGE_BYTES}.`,
      { rank: peer },
    );
  }
  const message = new Uint8Array(numBytes);
  await communicator.recv(message, peer, options);
  return decode(message);
}

function encode(value: unknown): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value));
}

function decode<T>(message: Uint8Array): T {
  return JSON.parse(new TextDecoder().decode(message)) as T;
}
