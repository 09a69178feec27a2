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

/** In place of a token id: a rank without vocabulary has no candidate, and a NaN is never the likeliest. */
export const NO_TOKEN = -1;

/** The values of a fetched float32 output, without a copy. */
function asFloats(value: FetchedValue | undefined): Float32Array {
  return value === undefined
    ? new Float32Array(0)
    : new Float32Array(value.data.buffer, value.data.byteOffset, value.data.byteLength / 4);
}

/** Index of the largest of values[begin, end), the lowest on ties; the first that is no number, if there is one. */
function findMaximum(values: Float32Array, begin: number, end: number): number {
  let best = begin;
  for (let index = begin; index < end; index++) {
    if (values[index]! > values[best]!) {
      best = index;
    } else if (Number.isNaN(values[index])) {
      return index;
    }
  }
  return best;
}

/**
 * The best token of each position over all ranks, the lowest id on ties; NO_TOKEN where a logit is not a finite number.
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
  // candidates: [B * M] pairs (id int32, logit float32)
  const ids = new Int32Array(numPositions * 2).fill(NO_TOKEN);
  const values = new Float32Array(ids.buffer);
  for (let position = 0; width > 0 && position < numPositions; position++) {
    const best = findMaximum(logits, position * width, (position + 1) * width);
    ids[position * 2] = firstId + (best - position * width);
    values[position * 2 + 1] = logits[best]!;
  }
  const isWhole = layout.firstIds === undefined;
  const numShards = isWhole ? 1 : worldSize;
  const gatheredIds = isWhole ? ids : new Int32Array(ids.length * worldSize);
  const gatheredValues = new Float32Array(gatheredIds.buffer);
  const bytesPerRank = Array<number>(worldSize).fill(ids.byteLength);
  if (!isWhole) {
    const options = { label: "logits candidates" };
    await communicator.allGather(new Uint8Array(ids.buffer), new Uint8Array(gatheredIds.buffer), bytesPerRank, options);
  }
  return Int32Array.from({ length: numPositions }, (_, position) => {
    const places = Array.from(
      { length: numShards },
      (_shard, shardIndex) => (shardIndex * numPositions + position) * 2,
    );
    const held = places.filter((place) => gatheredIds[place] !== NO_TOKEN);
    // Shards lie in the order of ids, so ">" keeps the lowest id on ties.
    const best = held.reduce((a, b) => (gatheredValues[b + 1]! > gatheredValues[a + 1]! ? b : a));
    return held.every((place) => gatheredValues[place + 1]! < Infinity) ? gatheredIds[best]! : NO_TOKEN;
  });
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
