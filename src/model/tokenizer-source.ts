/**
 * Where a tokenizer's definition and the chat template come from: tokenizer.json, tokenizer_config.json and chat_template.jinja, or
 * the metadata of another format.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { ModelError } from "../errors.ts";
import { readSpecialTokens, readTemplateText, type ChatTemplate } from "./chat-template.ts";
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
  /** Undefined when the model has none. */
  readChatTemplate(): ChatTemplate | undefined;
}

/** The tokenizer of a checkpoint directory. */
export function directoryTokenizer(directory: string): TokenizerSource {
  const file = join(directory, "tokenizer.json");
  const configFile = join(directory, "tokenizer_config.json");
  const templateFile = join(directory, "chat_template.jinja");
  const readConfig = () => (existsSync(configFile) ? readJsonObject(configFile) : {});
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
      return { definition: readJsonObject(file), config: readConfig() };
    },
    readChatTemplate() {
      const config = readConfig();
      const inFile = existsSync(templateFile);
      const text = inFile ? readFileSync(templateFile, "utf8") : readTemplateText(config.chat_template);
      if (text === undefined) return undefined;
      return { text, file: inFile ? templateFile : configFile, specialTokens: readSpecialTokens(config) };
    },
  };
}
