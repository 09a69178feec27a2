/**
 * Messages of unknown size from every rank to every rank, on top of allGather: sizes first, then bytes.
 * For rare exchanges (load status, reports), not for tensors.
 */
import type { CallOptions, Communicator } from "./native.ts";

/**
 * Gathers one JSON value per rank.
 * @returns the values in rank order, the same on every rank.
 */
export async function gatherValues<T>(communicator: Communicator, value: T, options: CallOptions): Promise<T[]> {
  const { rank, worldSize } = communicator;
  const message = new TextEncoder().encode(JSON.stringify(value));
  const sizes = new Uint32Array(worldSize);
  sizes[rank] = message.byteLength;
  const ownSize = new Uint8Array(sizes.buffer.slice(rank * 4, rank * 4 + 4));
  await communicator.allGather(ownSize, new Uint8Array(sizes.buffer), Array<number>(worldSize).fill(4), options);
  const numBytes = [...sizes];
  const gathered = new Uint8Array(numBytes.reduce((sum, size) => sum + size, 0));
  await communicator.allGather(message, gathered, numBytes, options);
  const values: T[] = [];
  let offset = 0;
  for (const size of numBytes) {
    values.push(JSON.parse(new TextDecoder().decode(gathered.subarray(offset, offset + size))) as T);
    offset += size;
  }
  return values;
}
