/**
 * Text to token ids and back, as tokenizer.json or a GGUF file's metadata says (Hugging Face's own library does the work).
 * A model without them has an empty tokenizer: ids go in and out, and asking for text is an error that says why.
 */
import { ModelError } from "../errors.ts";
import { readTokenText, renderChat, type ChatMessage, type ChatTemplate } from "./chat-template.ts";
import { createLibraryTokenizer, type LibraryTokenizer } from "./tokenizer-library.ts";
import type { TokenizerSource } from "./tokenizer-source.ts";

/** Of what the library says of a damaged file. */
const MAX_REASON_LENGTH = 200;

/** Text to token ids and back. The files are read at the first use: a large vocabulary costs a second, and most ranks never see text. */
export class Tokenizer {
  private readonly source: TokenizerSource;
  private library: LibraryTokenizer | undefined;
  private chatTemplate: ChatTemplate | undefined;
  /** What tokenizer_config.json calls the unknown token. */
  private unknownToken: string | undefined;

  constructor(source: TokenizerSource) {
    this.source = source;
  }

  /** Whether the model has one; without it every other member throws. */
  get isAvailable(): boolean {
    return this.source.isAvailable;
  }

  /** Ids of the tokens of a text; addSpecialTokens adds what the model wants around it (a token that begins every text). */
  encode(text: string, { addSpecialTokens = true } = {}): number[] {
    const { ids } = this.load().encode(text, { add_special_tokens: addSpecialTokens });
    // Characters outside the vocabulary have no id where there is no unknown token: they are dropped, as in Hugging Face's tokenizers.
    return ids.filter((id) => id !== undefined);
  }

  /** Text of token ids; ids that stand for no token (rows that only pad the model's vocabulary) have no text. */
  decode(ids: readonly number[], { skipSpecialTokens = true } = {}): string {
    const library = this.load();
    const known = ids.filter((id) => library.id_to_token(id) !== undefined);
    // Text is what the model wrote, byte for byte: no removal of spaces before punctuation, whatever tokenizer_config.json says.
    const options = { skip_special_tokens: skipSpecialTokens, clean_up_tokenization_spaces: false };
    return known.length === 0 ? "" : library.decode(known, options);
  }

  /**
   * Ids of a conversation, as the model's chat template writes it: with whatever begins a text, since that is in the template.
   * @param addGenerationPrompt end with the beginning of an answer
   * @throws {ModelError} when the model has no template, or the template refuses the conversation
   */
  applyChatTemplate(messages: readonly ChatMessage[], { addGenerationPrompt = true } = {}): number[] {
    return this.encode(this.renderChat(messages, addGenerationPrompt), { addSpecialTokens: false });
  }

  /** The special token that the template puts after an answer; undefined when it puts none. */
  get endOfTurnId(): number | undefined {
    const answer = "the answer";
    const messages = [
      { role: "user", content: "a question" },
      { role: "assistant", content: answer },
    ];
    const text = this.renderChat(messages, false);
    const after = text.slice(text.lastIndexOf(answer) + answer.length).trimStart();
    const [first] = after === "" ? [] : this.encode(after, { addSpecialTokens: false });
    return first !== undefined && this.decode([first]) === "" ? first : undefined;
  }

  private renderChat(messages: readonly ChatMessage[], addGenerationPrompt: boolean): string {
    this.chatTemplate ??= this.source.readChatTemplate();
    if (this.chatTemplate === undefined) {
      throw new ModelError(
        `The model of "${this.source.file}" has no chat template, so it takes texts to continue and no conversations. ` +
          "Take a model that was trained to chat, or add its chat_template.jinja.",
      );
    }
    return renderChat(this.chatTemplate, messages, addGenerationPrompt);
  }

  /** The id of a token, or undefined when it is not in the vocabulary. */
  tokenToId(token: string): number | undefined {
    return this.load().token_to_id(token);
  }

  /** The token of an id, or undefined when no token has it. */
  idToToken(id: number): string | undefined {
    return this.load().id_to_token(id);
  }

  /** The id that stands for tokens outside the vocabulary, if tokenizer.json or tokenizer_config.json names one. */
  get unknownTokenId(): number | undefined {
    const library = this.load();
    return (
      library.model.unk_token_id ??
      (this.unknownToken === undefined ? undefined : library.token_to_id(this.unknownToken))
    );
  }

  /** One more than the largest id. */
  get vocabSize(): number {
    return this.load().model.vocab.length;
  }

  /** @throws {ModelError} when there is none, when it is damaged, or when the library does not know what it uses. */
  private load(): LibraryTokenizer {
    if (this.library !== undefined) return this.library;
    const { definition, config } = this.source.read();
    try {
      this.library = createLibraryTokenizer(definition, config);
      this.unknownToken = readTokenText(config.unk_token);
    } catch (cause) {
      throw new ModelError(
        `Reading "${this.source.file}" failed: ${cut((cause as Error).message)}. Export the tokenizer again.`,
        {
          cause,
        },
      );
    }
    return this.library;
  }
}

/** The library quotes what it does not know, at whatever length. */
function cut(message: string): string {
  return message.length > MAX_REASON_LENGTH ? `${message.slice(0, MAX_REASON_LENGTH)}...` : message;
}
