/**
 * Hands out the pieces: one rank's graph goes in, the weights of its session come out, with what they cost.
 * Weights that lie in a file as they are wanted are mapped from it; the others are converted, one by one, into the cache and mapped
 * from there, or into memory where nothing can be kept.
 */
import type { SessionWeight } from "../collective/native.ts";
import type { Graph, Weight } from "../model/graph.ts";
import { isEmbedded } from "../model/onnx-format.ts";
import { countWeightBytes, storedShape } from "../model/packed-layout.ts";
import { keepConverted, type ConvertedWeights, type WeightCache } from "./converted-weights.ts";
import { makeWeight } from "./make-weight.ts";
import { isMapped, type MapFile } from "./weight.ts";

/** What a rank's weights cost. */
export interface WeightFootprint {
  /** Bytes used straight from files, the model's or the cache's: shared between processes, paged in when touched. */
  readonly mappedBytes: number;
  /** Bytes in memory of this process. */
  readonly copiedBytes: number;
  /** Of both, the bytes that were converted or rearranged at this start; 0 when an earlier one had done it. */
  readonly convertedBytes: number;
}

export interface MaterialisedGraph {
  readonly weights: readonly SessionWeight[];
  readonly footprint: WeightFootprint;
  /** Lets go of the cache's file; to be called when the weights are no longer used. */
  readonly release: () => void;
}

/**
 * All weights of one rank's graph that do not lie in its encoded model, for createSession.
 * @param cache where converted weights are kept; undefined: nowhere
 * @throws {ModelError} when a file has gone or changed since its header was read; names file and weight
 */
export async function materialiseGraph(
  graph: Graph,
  mapFile: MapFile,
  cache: WeightCache | undefined,
): Promise<MaterialisedGraph> {
  const handedOver = [...graph.weights.values()].filter((weight) => !isEmbedded(weight));
  const unlikeFile = handedOver.filter((weight) => !isMapped(weight));
  const kept = cache && unlikeFile.length > 0 ? await keepConverted(unlikeFile, cache, mapFile) : undefined;
  const weights = handedOver.map((weight): SessionWeight => ({
    name: weight.name,
    dataType: weight.dataType,
    shape: storedShape(weight),
    data: kept?.data.get(weight.name) ?? makeWeight(weight, mapFile),
  }));
  return { weights, footprint: countFootprint(handedOver, unlikeFile, kept), release: () => kept?.entry.release() };
}

function countFootprint(
  all: readonly Weight[],
  unlikeFile: readonly Weight[],
  kept: ConvertedWeights | undefined,
): WeightFootprint {
  const sum = (weights: readonly Weight[]) => weights.reduce((bytes, weight) => bytes + countWeightBytes(weight), 0);
  const copiedBytes = kept === undefined ? sum(unlikeFile) : 0;
  return {
    mappedBytes: sum(all) - copiedBytes,
    copiedBytes,
    convertedBytes: kept?.isNew === false ? 0 : sum(unlikeFile),
  };
}
