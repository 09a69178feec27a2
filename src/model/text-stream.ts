/**
 * Turns tokens into text while they arrive, so that the pieces joined are the text of all of them at once.
 * A token alone does not say its text: a character's bytes may be spread over several tokens, and sentencepiece drops the space of
 * whatever token comes first. So a token is decoded together with those before it, and text that may still change is held back.
 */
import type { Tokenizer } from "./tokenizer.ts";

/** Tokens of context that are decoded along; one with visible text is enough, several may be special. */
const CONTEXT_TOKENS = 16;

/** What bytes that are no whole character decode to. */
const INCOMPLETE = /\uFFFD+$/;

/** The text of a growing list of tokens. */
export class TextStream {
  private readonly tokenizer: Tokenizer;
  /** Tokens whose text has been given, kept as context, and those after them whose text has not. */
  private givenIds: readonly number[];
  private heldIds: number[] = [];
  private givenText: string;

  /** @param context the tokens before the first one (the prompt); the stream continues their text */
  constructor(tokenizer: Tokenizer, context: readonly number[] = []) {
    this.tokenizer = tokenizer;
    this.givenIds = context.slice(-CONTEXT_TOKENS);
    this.givenText = tokenizer.decode(this.givenIds).replace(INCOMPLETE, "");
  }

  /** Takes the next token; returns the text that is now certain, maybe "". */
  push(id: number): string {
    this.heldIds.push(id);
    const text = this.tokenizer.decode([...this.givenIds, ...this.heldIds]);
    return text.length <= this.givenText.length || INCOMPLETE.test(text) ? "" : this.give(text);
  }

  /** Ends the stream: the text held back, incomplete characters as U+FFFD. */
  flush(): string {
    return this.give(this.tokenizer.decode([...this.givenIds, ...this.heldIds]));
  }

  /** The part of `text` not given yet; its tokens are the context of what follows. */
  private give(text: string): string {
    const newText = text.slice(this.givenText.length);
    this.givenIds = this.heldIds;
    this.heldIds = [];
    this.givenText = this.tokenizer.decode(this.givenIds);
    return newText;
  }
}
