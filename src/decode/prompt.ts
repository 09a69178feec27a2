/**
 * Checks a prompt before anything runs: token ids go in, nothing comes out but a clear refusal.
 */
import { UsageError } from "../errors.ts";
import { requireTokenId } from "./options.ts";

/** What prompts must fit. */
export interface PromptLimits {
  readonly vocabSize: number;
  /** Positions that the model can hold. */
  readonly maxContext: number;
}

/**
 * A prompt may fill the whole context: the token chosen after it is never fed back.
 * @param index place in the caller's list, for the message
 * @throws {UsageError} when it is empty, longer than the context, or holds an id that the model does not know
 */
export function checkPrompt(promptIds: readonly number[], index: number, limits: PromptLimits): void {
  if (promptIds.length === 0) {
    throw new UsageError(`Prompt ${index} has no tokens: give at least one, for example the model's beginning token.`);
  }
  if (promptIds.length > limits.maxContext) {
    throw new UsageError(
      `Prompt ${index} has ${promptIds.length} tokens, but the model's context holds ${limits.maxContext}: shorten the prompt.`,
    );
  }
  for (const id of promptIds) requireTokenId(id, limits.vocabSize, `Prompt ${index}`);
}
