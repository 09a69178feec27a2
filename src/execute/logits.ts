/**
 * Makes vocabulary-parallel logits whole: each rank holds [B * M, V/P], the leader wants the best token or all of V.
 * For the best token only 8 bytes per position and rank travel, not the logits, and the run itself looks for it
 * (native/onnxruntime/best_tokens.h): at a decode step's end no rank goes through JavaScript for it.
 */
import type { Communicator, FetchedValue, TokenSearch } from "../collective/native.ts";

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

/** What a run is to find, when the best token of each position is all that is wanted of the logits. */
export function searchBestTokens({ firstIds, sizes }: LogitsLayout, rank: number, numPositions: number): TokenSearch {
  const holdsLogits = firstIds === undefined || sizes[rank]! > 0;
  return {
    output: holdsLogits ? "logits" : undefined,
    numPositions,
    firstId: firstIds?.[rank] ?? 0,
    isShard: firstIds !== undefined,
  };
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
