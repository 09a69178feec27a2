/**
 * Text to token ids and back, as tokenizer.json says (Hugging Face's own library does the work).
 * A model without tokenizer.json has an empty tokenizer: ids go in and out, and asking for text is an error that says why.
 */
import { join } from "node:path";
import { ModelError } from "../errors.ts";
import { exists } from "./config.ts";
import { readJsonObject } from "./settings.ts";
import { createLibraryTokenizer, type LibraryTokenizer } from "./tokenizer-library.ts";

/** Text to token ids and back. */
export class Tokenizer {
  private readonly directory: string;
  private readonly library: LibraryTokenizer | undefined;

  constructor(directory: string, library: LibraryTokenizer | undefined) {
    this.directory = directory;
    this.library = library;
  }

  /** Whether the model has one; without it every other member throws. */
  get isAvailable(): boolean {
    return this.library !== undefined;
  }

  /** Ids of the tokens of a text; addSpecialTokens adds what the model wants around it (a token that begins every text). */
  encode(text: string, { addSpecialTokens = true } = {}): number[] {
    const { ids } = this.require().encode(text, { add_special_tokens: addSpecialTokens });
    // Characters outside the vocabulary have no id where there is no unknown token: they are dropped, as in Hugging Face's tokenizers.
    return ids.filter((id) => id !== undefined);
  }

  /** Text of token ids; ids that stand for no token (rows that only pad the model's vocabulary) have no text. */
  decode(ids: readonly number[], { skipSpecialTokens = true } = {}): string {
    const library = this.require();
    const known = ids.filter((id) => library.id_to_token(id) !== undefined);
    // Text is what the model wrote, byte for byte: no removal of spaces before punctuation, whatever tokenizer_config.json says.
    const options = { skip_special_tokens: skipSpecialTokens, clean_up_tokenization_spaces: false };
    return known.length === 0 ? "" : library.decode(known, options);
  }

  /** The id of a token, or undefined when it is not in the vocabulary. */
  tokenToId(token: string): number | undefined {
    return this.require().token_to_id(token);
  }

  /** The token of an id, or undefined when no token has it. */
  idToToken(id: number): string | undefined {
    return this.require().id_to_token(id);
  }

  /** The id that stands for tokens outside the vocabulary, if the tokenizer has one. */
  get unknownTokenId(): number | undefined {
    return this.require().model.unk_token_id;
  }

  /** One more than the largest id. */
  get vocabSize(): number {
    return this.require().model.vocab.length;
  }

  private require(): LibraryTokenizer {
    if (this.library !== undefined) return this.library;
    throw new ModelError(
      `Model "${this.directory}" has no tokenizer.json, so it has no text: pass and read token ids, or add tokenizer.json to the directory.`,
    );
  }
}

/**
 * Reads tokenizer.json and tokenizer_config.json of a checkpoint directory.
 * @throws {ModelError} when they are damaged, or tokenizer.json uses something that the library does not know.
 */
export async function loadTokenizer(directory: string): Promise<Tokenizer> {
  const file = join(directory, "tokenizer.json");
  if (!(await exists(file))) return new Tokenizer(directory, undefined);
  const configFile = join(directory, "tokenizer_config.json");
  const definition = await readJsonObject(file);
  const config = (await exists(configFile)) ? await readJsonObject(configFile) : {};
  try {
    return new Tokenizer(directory, createLibraryTokenizer(definition, config));
  } catch (cause) {
    throw new ModelError(`Reading "${file}" failed: ${(cause as Error).message}. Export the tokenizer again.`, {
      cause,
    });
  }
}
