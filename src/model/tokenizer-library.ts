/**
 * The part of @huggingface/tokenizers that we use, typed by us: the package's own declarations import each other without file
 * extensions, which TypeScript does not resolve under Node's module rules.
 */
import * as library from "@huggingface/tokenizers";

/** A tokenizer of the library. */
export interface LibraryTokenizer {
  /** An id is undefined for a piece outside a vocabulary that has no unknown token. */
  encode(text: string, options: { add_special_tokens: boolean }): { ids: (number | undefined)[] };
  /** @throws when ids is empty */
  decode(ids: number[], options: { skip_special_tokens: boolean; clean_up_tokenization_spaces: boolean }): string;
  token_to_id(token: string): number | undefined;
  id_to_token(id: number): string | undefined;
  readonly model: { readonly vocab: readonly string[]; readonly unk_token_id?: number };
}

type JsonObject = Readonly<Record<string, unknown>>;
type Constructor = new (definition: JsonObject, config: JsonObject) => LibraryTokenizer;

/** Makes one from the contents of tokenizer.json and tokenizer_config.json. */
export function createLibraryTokenizer(definition: JsonObject, config: JsonObject): LibraryTokenizer {
  const { Tokenizer } = library as unknown as { Tokenizer: Constructor };
  return new Tokenizer(definition, config);
}
