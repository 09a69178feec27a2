/** What an architecture family must provide: one function from config and tensors to a graph. The table is families.ts. */
import { UsageError } from "../errors.ts";
import type { Checkpoint } from "./checkpoint.ts";
import type { ComputeOptions } from "./compute-type.ts";
import type { Graph } from "./graph.ts";
import type { CacheTensor } from "./graph-builder.ts";
import type { Settings } from "./settings.ts";

/** The sizes of a model, in the words of config.json. */
export interface ModelSizes {
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly numHiddenLayers: number;
  readonly numAttentionHeads: number;
  readonly numKeyValueHeads: number;
  readonly headDim: number;
  /** Positions that the graph can be run with. */
  readonly maxPositions: number;
}

export interface FamilyModel {
  readonly config: ModelSizes;
  readonly graph: Graph;
  /** Two per layer, keys and values. */
  readonly cache: readonly CacheTensor[];
}

export interface BuildOptions extends ComputeOptions {
  /** Limits the context below what config.json allows, which keeps position tables and caches small. */
  readonly maxContext?: number | undefined;
}

export interface Family {
  /** "model_type" in config.json. */
  readonly modelType: string;
  /** The entry of "architectures" that this family builds. */
  readonly architecture: string;
  /** Tensors that a checkpoint may hold without a meaning for the answer. */
  readonly ignorableTensors: RegExp;
  /** @throws {ModelError} when config.json asks for what the family does not support, or disagrees with the tensors. */
  build(config: Settings, checkpoint: Checkpoint, options: BuildOptions): FamilyModel;
}

/**
 * The context of a model: config.json's, or the caller's smaller limit.
 * @throws {UsageError} when the limit is no positive integer.
 */
export function limitContext(maxPositions: number, { maxContext = maxPositions }: BuildOptions): number {
  if (!Number.isSafeInteger(maxContext) || maxContext < 1) {
    throw new UsageError(`maxContext must be an integer of at least 1, received ${maxContext}.`);
  }
  return Math.min(maxPositions, maxContext);
}
