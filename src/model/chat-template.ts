/**
 * Turns a conversation into the text that a chat model was trained on, by the template that comes with the model (Jinja, as
 * transformers has it; Hugging Face's own library does the work).
 */
import { Template } from "@huggingface/jinja";
import { ModelError } from "../errors.ts";
import { isJsonObject } from "./settings.ts";

/** One message of a conversation. */
export interface ChatMessage {
  /** "system", "user", "assistant", or what else the template knows. */
  readonly role: string;
  readonly content: string;
}

/** A conversation of one message, after what the model is told, if anything. */
export function beginChat(system: string | undefined, message: string): ChatMessage[] {
  const told = system === undefined ? [] : [{ role: "system", content: system }];
  return [...told, { role: "user", content: message }];
}

/** A model's template. */
export interface ChatTemplate {
  readonly text: string;
  /** Where it was read, for errors. */
  readonly file: string;
  /** What the template may refer to by name: bos_token, eos_token, ... */
  readonly specialTokens: Readonly<Record<string, string>>;
}

const SPECIAL_TOKENS = ["bos_token", "eos_token", "unk_token", "pad_token"] as const;

/**
 * The text of a conversation.
 * @param addGenerationPrompt end with the beginning of an answer
 * @throws {ModelError} when the template refuses the conversation, or uses what the library does not know
 */
export function renderChat(
  { text, file, specialTokens }: ChatTemplate,
  messages: readonly ChatMessage[],
  addGenerationPrompt: boolean,
): string {
  try {
    return new Template(text).render({ ...specialTokens, messages, add_generation_prompt: addGenerationPrompt });
  } catch (cause) {
    throw new ModelError(`The chat template of "${file}" failed: ${(cause as Error).message}`, { cause });
  }
}

/** The texts of the special tokens that tokenizer_config.json names, as text or as objects. */
export function readSpecialTokens(config: Readonly<Record<string, unknown>>): Record<string, string> {
  const named = SPECIAL_TOKENS.map((name) => [name, readTokenText(config[name])] as const);
  return Object.fromEntries(named.filter((entry): entry is [(typeof entry)[0], string] => entry[1] !== undefined));
}

/** The text of a special token, which settings give as text or as an object. */
export function readTokenText(token: unknown): string | undefined {
  const text = isJsonObject(token) ? token.content : token;
  return typeof text === "string" ? text : undefined;
}

/** The template under the key chat_template: a text, or a list of named ones, of which "default" is the one for conversations. */
export function readTemplateText(value: unknown): string | undefined {
  if (!Array.isArray(value)) return typeof value === "string" ? value : undefined;
  const named: unknown = value.find((each) => isJsonObject(each) && each.name === "default");
  return isJsonObject(named) && typeof named.template === "string" ? named.template : undefined;
}
