/**
 * From a checkpoint directory to everything that the rest of the program needs to know of a model: graph, sizes, cache tensors, special tokens,
 * tokenizer. Reads headers and settings only; the weights stay where they are until shards/ takes this rank's part of them.
 */
import { join, resolve } from "node:path";
import { openCheckpoint } from "./checkpoint.ts";
import { readConfig, readGenerationConfig, type GenerationConfig } from "./config.ts";
import { findFamily } from "./families.ts";
import type { BuildOptions, FamilyModel } from "./family.ts";
import { Tokenizer } from "./tokenizer.ts";

/** A model that can be partitioned and run. */
export interface Model extends FamilyModel {
  /** Absolute. */
  readonly directory: string;
  /** What decides the answer: the settings and the weights. Absolute. */
  readonly files: readonly string[];
  /** "llama", "gpt2", ... */
  readonly family: string;
  readonly generationConfig: GenerationConfig;
  readonly tokenizer: Tokenizer;
}

/**
 * Reads the checkpoint in a directory.
 * @throws {ModelError} when something is missing, damaged, contradictory or not supported.
 */
export async function loadModel(directory: string, options: BuildOptions = {}): Promise<Model> {
  const path = resolve(directory);
  const config = readConfig(path);
  const family = findFamily(config);
  const checkpoint = await openCheckpoint(path);
  const built = family.build(config, checkpoint, options);
  checkpoint.refuseUnused(family.ignorableTensors);
  return {
    ...built,
    directory: path,
    files: [join(path, "config.json"), ...checkpoint.files],
    family: family.modelType,
    generationConfig: readGenerationConfig(path, config),
    tokenizer: new Tokenizer(path),
  };
}
