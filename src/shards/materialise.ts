/**
 * Hands out the pieces: one rank's graph goes in, the weights of its session come out, with what they cost.
 * Weights are made one by one, so that no more than one weight's temporary memory exists and progress can be told.
 */
import type { SessionWeight } from "../collective/native.ts";
import type { Graph } from "../model/graph.ts";
import { isEmbedded } from "../model/onnx-format.ts";
import { materialiseWeight, type MapFile } from "./weight.ts";

/** How far the loading is. */
export interface LoadProgress {
  readonly numWeights: number;
  readonly totalWeights: number;
  /** Bytes used straight from the files: shared between processes, paged in when touched. */
  readonly mappedBytes: number;
  /** Bytes that were converted or rearranged into memory of this process. */
  readonly copiedBytes: number;
}

export interface MaterialisedGraph extends LoadProgress {
  readonly weights: readonly SessionWeight[];
}

/**
 * All weights of one rank's graph that do not lie in its encoded model, for createSession.
 * @param report called after each weight
 * @throws {ModelError} when a file has gone or changed since its header was read; names file and weight
 */
export function materialiseGraph(
  graph: Graph,
  mapFile: MapFile,
  report?: (progress: LoadProgress) => void,
): MaterialisedGraph {
  const handedOver = [...graph.weights.values()].filter((weight) => !isEmbedded(weight));
  const weights: SessionWeight[] = [];
  let progress: LoadProgress = { numWeights: 0, totalWeights: handedOver.length, mappedBytes: 0, copiedBytes: 0 };
  for (const weight of handedOver) {
    const { data, mapped } = materialiseWeight(weight, mapFile);
    weights.push({ name: weight.name, dataType: weight.dataType, shape: weight.shape, data });
    progress = {
      numWeights: progress.numWeights + 1,
      totalWeights: progress.totalWeights,
      mappedBytes: progress.mappedBytes + (mapped ? data.byteLength : 0),
      copiedBytes: progress.copiedBytes + (mapped ? 0 : data.byteLength),
    };
    report?.(progress);
  }
  return { weights, ...progress };
}
