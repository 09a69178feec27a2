/**
 * A conversation with a chat model: messages go in, answers come out piece by piece, and both are remembered. For every answer the model
 * reads what it has not read yet; what no longer fits into its context is forgotten from the beginning.
 */
import type { Generator } from "../api/generator.ts";
import type { GenerationOptions } from "../decode/options.ts";
import { UsageError } from "../errors.ts";
import type { ChatMessage } from "../model/chat-template.ts";
import { TextStream } from "../model/text-stream.ts";

export interface ConversationOptions {
  /** What the model is told first; undefined: what its template says. */
  readonly system: string | undefined;
  /** Most tokens of an answer; undefined: all that fit. */
  readonly maxLength: number | undefined;
  readonly decoding: GenerationOptions;
}

export class Conversation {
  readonly #generator: Generator;
  readonly #options: ConversationOptions;
  readonly #endToken: readonly number[];
  #messages: ChatMessage[] = [];
  #promptIds: readonly number[] = [];

  constructor(generator: Generator, options: ConversationOptions) {
    this.#generator = generator;
    this.#options = options;
    this.#endToken = generator.chatEndTokens;
  }

  /** Forgets all messages. */
  reset(): void {
    this.#messages = [];
  }

  /**
   * Takes a message of the user.
   * @returns how many messages were forgotten because they no longer fit
   * @throws {UsageError} when the message alone is too long
   */
  add(content: string): number {
    this.#messages.push({ role: "user", content });
    let numForgotten = 0;
    const { maxContext } = this.#generator;
    for (this.#encode(); this.#promptIds.length >= maxContext; this.#encode()) {
      if (this.#messages.length < 3) {
        this.#messages.pop();
        throw new UsageError(
          `The message has ${this.#promptIds.length} tokens with what the chat template adds, but the context has ${maxContext}: shorten it.`,
        );
      }
      // A question and its answer.
      this.#messages.splice(0, 2);
      numForgotten += 2;
    }
    return numForgotten;
  }

  /** The answer to the last message, piece by piece; what has come when `signal` stops it is remembered. */
  async *answer(signal: AbortSignal): AsyncGenerator<string, void, undefined> {
    const { maxLength = Infinity, decoding } = this.#options;
    const room = this.#generator.maxContext - this.#promptIds.length;
    const stream = new TextStream(this.#generator.model.tokenizer);
    let content = "";
    try {
      const tokens = this.#generator.generateTokens(this.#promptIds, {
        ...decoding,
        cachePrompt: true,
        maxLength: Math.min(maxLength, room),
        endToken: this.#endToken,
        signal,
      });
      for await (const { tokenId } of tokens) {
        const text = stream.push(tokenId);
        content += text;
        yield text;
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    }
    const rest = stream.flush();
    this.#messages.push({ role: "assistant", content: content + rest });
    yield rest;
  }

  #encode(): void {
    const { system } = this.#options;
    const told = system === undefined ? [] : [{ role: "system", content: system }];
    this.#promptIds = this.#generator.applyChatTemplate([...told, ...this.#messages]);
  }
}
