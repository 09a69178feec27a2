/**
 * From a checkpoint directory to everything that the rest of the program needs to know of a model: graph, sizes, cache tensors, special tokens,
 * tokenizer. Reads headers and settings only; the weights stay where they are until shards/ takes this rank's part of them.
 */
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { openCheckpoint } from "./checkpoint.ts";
import { readConfig, readGenerationSettings, resolveGenerationConfig, type GenerationConfig } from "./config.ts";
import { findFamily } from "./families.ts";
import type { BuildOptions, FamilyModel } from "./family.ts";
import { openGguf, type GgufModel } from "./gguf/open.ts";
import { isGgufFile } from "./model-path.ts";
import { quantizeGraph } from "./quantize.ts";
import { directoryTokenizer } from "./tokenizer-source.ts";
import { Tokenizer } from "./tokenizer.ts";

/** Without these the weights mean nothing. */
const SETTINGS_FILES = ["config.json", "model.safetensors.index.json"] as const;

/** A model that can be partitioned and run. */
export interface Model extends FamilyModel {
  /** The directory or the GGUF file. Absolute. */
  readonly directory: string;
  /** What decides the answer: the settings and the weights. Absolute. */
  readonly files: readonly string[];
  /** "llama", "gpt2", ... */
  readonly family: string;
  readonly generationConfig: GenerationConfig;
  readonly tokenizer: Tokenizer;
}

/**
 * Reads a checkpoint directory or a GGUF file.
 * @throws {ModelError} when something is missing, damaged, contradictory or not supported.
 */
export async function loadModel(modelPath: string, options: BuildOptions = {}): Promise<Model> {
  const path = resolve(modelPath);
  const { config, generationConfig, checkpoint, tokenizer, files } = isGgufFile(path)
    ? readGguf(path)
    : await readDirectory(path);
  const family = findFamily(config);
  const built = family.build(config, checkpoint, options);
  checkpoint.refuseUnused(family.ignorableTensors);
  return {
    ...built,
    graph: quantizeGraph(built.graph, options),
    directory: path,
    files,
    family: family.modelType,
    generationConfig: resolveGenerationConfig(generationConfig, config),
    tokenizer: new Tokenizer(tokenizer),
  };
}

/** What a front end finds: the settings as Hugging Face spells them, and the tensors by its names. */
interface Contents extends GgufModel {
  readonly files: readonly string[];
}

async function readDirectory(directory: string): Promise<Contents> {
  const config = readConfig(directory);
  const checkpoint = await openCheckpoint(directory);
  return {
    config,
    generationConfig: readGenerationSettings(directory),
    checkpoint,
    tokenizer: directoryTokenizer(directory),
    files: [...SETTINGS_FILES.map((name) => join(directory, name)).filter(existsSync), ...checkpoint.files],
  };
}

function readGguf(file: string): Contents {
  const model = openGguf(file);
  return { ...model, files: model.checkpoint.files };
}

/** The tokens that end an answer in a conversation. */
export function chatEndTokens({ generationConfig, tokenizer }: Model): number[] {
  const { endOfTurnId } = tokenizer;
  return [...new Set([...generationConfig.eosTokenIds, ...(endOfTurnId === undefined ? [] : [endOfTurnId])])];
}
