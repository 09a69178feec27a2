/**
 * What a checkpoint says about itself: config.json (the architecture; each family reads its own keys from it) and
 * generation_config.json (special tokens and the author's sampling defaults).
 */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { ModelError } from "../errors.ts";
import { readJsonObject, Settings } from "./settings.ts";

/** Special tokens, and how the author meant the model to be sampled. */
export interface GenerationConfig {
  readonly bosTokenId: number | undefined;
  /** Any of them ends a text; may be empty. */
  readonly eosTokenIds: readonly number[];
  readonly padTokenId: number | undefined;
  readonly doSample: boolean;
  readonly temperature: number;
  /** 0: no limit. */
  readonly topK: number;
  readonly topP: number;
  readonly repetitionPenalty: number;
}

/**
 * Reads config.json.
 * @throws {ModelError} when the file is missing or damaged.
 */
export function readConfig(directory: string): Settings {
  const file = join(directory, "config.json");
  if (!existsSync(file)) {
    const ggufFile = readdirSync(directory).find((name) => name.endsWith(".gguf"));
    const remedy =
      ggufFile === undefined
        ? "pass a checkpoint in Hugging Face layout (config.json, model.safetensors), or a GGUF file"
        : `pass the GGUF file in it, "${join(directory, ggufFile)}"`;
    throw new ModelError(`Model directory "${directory}" holds no config.json: ${remedy}.`);
  }
  return new Settings(file, readJsonObject(file));
}

/** Reads generation_config.json, which may be missing. */
export function readGenerationSettings(directory: string): Settings {
  const file = join(directory, "generation_config.json");
  return new Settings(file, existsSync(file) ? readJsonObject(file) : {});
}

/** What the generation settings do not say comes from config.json, the rest is greedy without penalties. */
export function resolveGenerationConfig(generation: Settings, config: Settings): GenerationConfig {
  const tokenIds = (key: string): number[] => (generation.has(key) ? generation : config).tokenIds(key);
  return {
    bosTokenId: tokenIds("bos_token_id")[0],
    eosTokenIds: tokenIds("eos_token_id"),
    padTokenId: tokenIds("pad_token_id")[0],
    doSample: generation.boolean("do_sample", false),
    temperature: generation.number("temperature", 1),
    topK: generation.integer("top_k", 0, 0),
    topP: generation.number("top_p", 1),
    repetitionPenalty: generation.number("repetition_penalty", 1),
  };
}
