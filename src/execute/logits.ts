/**
 * Makes vocabulary-parallel logits whole: each rank holds [B * M, V/P], the leader wants the best token or all of V.
 * For the best token only 8 bytes per position and rank travel, not the logits.
 */
import type { Communicator, FetchedValue } from "../collective/native.ts";

export interface LogitsLayout {
  readonly vocabSize: number;
  /** Per rank, the first token id of its shard; undefined when every rank holds all of V. */
  readonly firstIds: readonly number[] | undefined;
  /** Per rank, V/P. */
  readonly sizes: readonly number[];
}

/** The values of a fetched float32 output, without a copy. */
function asFloats(value: FetchedValue | undefined): Float32Array {
  return value === undefined
    ? new Float32Array(0)
    : new Float32Array(value.data.buffer, value.data.byteOffset, value.data.byteLength / 4);
}

/** Index of the largest of row[begin, end); the lowest index on ties. */
function findMaximum(values: Float32Array, begin: number, end: number): number {
  let best = begin;
  for (let index = begin + 1; index < end; index++) {
    if (values[index]! > values[best]!) {
      best = index;
    }
  }
  return best;
}

/**
 * The best token of each position over all ranks; the lowest id on ties.
 * @param shard this rank's logits, float32 [B, M, V/P]; undefined on a rank without vocabulary
 * @returns [B * M], the same on every rank
 */
export async function gatherArgmax(
  communicator: Communicator,
  layout: LogitsLayout,
  shard: FetchedValue | undefined,
  numPositions: number,
): Promise<Int32Array> {
  const { rank, worldSize } = communicator;
  const logits = asFloats(shard);
  const width = layout.firstIds === undefined ? layout.vocabSize : layout.sizes[rank]!;
  const firstId = layout.firstIds?.[rank] ?? 0;
  // candidates: [B * M] pairs (id int32, logit float32); id -1 where this rank holds no vocabulary
  const ids = new Int32Array(numPositions * 2).fill(-1);
  const values = new Float32Array(ids.buffer);
  for (let position = 0; width > 0 && position < numPositions; position++) {
    const best = findMaximum(logits, position * width, (position + 1) * width);
    ids[position * 2] = firstId + (best - position * width);
    values[position * 2 + 1] = logits[best]!;
  }
  if (layout.firstIds === undefined) {
    return ids.filter((_, index) => index % 2 === 0);
  }
  const gatheredIds = new Int32Array(ids.length * worldSize);
  const gatheredValues = new Float32Array(gatheredIds.buffer);
  const bytesPerRank = Array<number>(worldSize).fill(ids.byteLength);
  await communicator.allGather(new Uint8Array(ids.buffer), new Uint8Array(gatheredIds.buffer), bytesPerRank, {
    label: "logits candidates",
  });
  const best = new Int32Array(numPositions).fill(-1);
  for (let position = 0; position < numPositions; position++) {
    let bestValue = 0;
    for (let peer = 0; peer < worldSize; peer++) {
      const at = (peer * numPositions + position) * 2;
      const id = gatheredIds[at]!;
      // Shards lie in the order of ids, so ">" keeps the lowest id on ties.
      if (id >= 0 && (best[position] === -1 || gatheredValues[at + 1]! > bestValue)) {
        best[position] = id;
        bestValue = gatheredValues[at + 1]!;
      }
    }
  }
  return best;
}

/**
 * All logits of each position.
 * @returns [B * M, V], the same on every rank
 */
export async function gatherLogits(
  communicator: Communicator,
  layout: LogitsLayout,
  shard: FetchedValue | undefined,
  numPositions: number,
): Promise<Float32Array> {
  const own = asFloats(shard);
  if (layout.firstIds === undefined) {
    return own;
  }
  const bytesPerRank = layout.sizes.map((size) => size * numPositions * 4);
  const gathered = new Float32Array(layout.vocabSize * numPositions);
  await communicator.allGather(
    new Uint8Array(own.buffer, own.byteOffset, own.byteLength),
    new Uint8Array(gathered.buffer),
    bytesPerRank,
    { label: "logits" },
  );
  if (numPositions === 1) {
    return gathered;
  }
  // gathered: per rank [B * M, V/P] -> logits: [B * M, V]
  const logits = new Float32Array(gathered.length);
  let offset = 0;
  layout.sizes.forEach((size, peer) => {
    for (let position = 0; position < numPositions; position++, offset += size) {
      logits.set(gathered.subarray(offset, offset + size), position * layout.vocabSize + layout.firstIds![peer]!);
    }
  });
  return logits;
}
