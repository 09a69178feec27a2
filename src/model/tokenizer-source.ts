/** Where a tokenizer's definition comes from: tokenizer.json and tokenizer_config.json, or the metadata of another format. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { ModelError } from "../errors.ts";
import { readJsonObject } from "./settings.ts";

/** What tokenizer.json and tokenizer_config.json say. */
export interface TokenizerDefinition {
  readonly definition: Readonly<Record<string, unknown>>;
  readonly config: Readonly<Record<string, unknown>>;
}

export interface TokenizerSource {
  /** The file that holds the definition, for errors. */
  readonly file: string;
  readonly isAvailable: boolean;
  /** @throws {ModelError} when there is none, or it cannot be read */
  read(): TokenizerDefinition;
}

/** The tokenizer of a checkpoint directory. */
export function directoryTokenizer(directory: string): TokenizerSource {
  const file = join(directory, "tokenizer.json");
  const configFile = join(directory, "tokenizer_config.json");
  return {
    file,
    get isAvailable() {
      return existsSync(file);
    },
    read() {
      if (!existsSync(file)) {
        throw new ModelError(
          `Model "${directory}" has no tokenizer.json, so it has no text: pass and read token ids, or add tokenizer.json to the directory.`,
        );
      }
      return { definition: readJsonObject(file), config: existsSync(configFile) ? readJsonObject(configFile) : {} };
    },
  };
}
