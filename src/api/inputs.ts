/**
 * What callers hand in, made fit for the engine: tokens become ids, options become decoding options, and everything that can be
 * wrong with them is found here, before any rank hears of it.
 */
import { randomInt } from "node:crypto";
import { resolveOptions, type DecodingOptions, type GenerationOptions } from "../decode/options.ts";
import { checkPrompt } from "../decode/prompt.ts";
import { UsageError } from "../errors.ts";
import type { Model } from "../model/model.ts";

/** A token by its text or by its id. */
export type Token = string | number;

/**
 * Positions of a sequence: as many as asked for, else all that the model has.
 * @throws {UsageError} when the model has fewer
 */
export function resolveMaxContext({ config, directory }: Model, maxContext = config.maxPositions): number {
  if (maxContext > config.maxPositions) {
    throw new UsageError(
      `maxContext is ${maxContext}, but the model of ${directory} has ${config.maxPositions} positions: give at most that.`,
    );
  }
  return maxContext;
}

/**
 * Ids of the tokens of each input; a token outside the vocabulary becomes the unknown token, as in CTranslate2.
 * @param maxInputLength longer inputs are cut; 0: none is
 * @throws {UsageError} naming the input and what is wrong with it
 */
export function resolveInputs(
  model: Model,
  maxContext: number,
  inputs: readonly (readonly Token[])[],
  maxInputLength = 0,
): readonly (readonly number[])[] {
  const limits = { vocabSize: model.config.vocabSize, maxContext };
  requireList("Prompts must be lists", inputs);
  if (!Number.isSafeInteger(maxInputLength) || maxInputLength < 0) {
    throw new UsageError(`maxInputLength is ${maxInputLength}, but must be a whole number of 0 or more (0: no limit).`);
  }
  return inputs.map((tokens, index) => {
    requireList(`Prompt ${index} must be a list`, tokens);
    const kept = tokens.slice(0, maxInputLength === 0 ? undefined : maxInputLength);
    const ids = kept.map((token) => (typeof token === "string" ? findTokenId(model, token) : token));
    checkPrompt(ids, index, limits);
    return ids;
  });
}

/** Callers without types hand in the text itself. */
function requireList(expectation: string, value: unknown): void {
  if (!Array.isArray(value)) {
    throw new UsageError(
      `${expectation} of tokens, received ${JSON.stringify(value)}: generator.encode(text) makes a list of a text.`,
    );
  }
}

function findTokenId({ tokenizer }: Model, token: string): number {
  const id = tokenizer.tokenToId(token) ?? tokenizer.unknownTokenId;
  if (id === undefined) {
    throw new UsageError(
      `Token ${JSON.stringify(token)} is not in the vocabulary, and the model has no unknown token.`,
    );
  }
  return id;
}

/**
 * The options of a generation, complete; without a seed each call gets one of its own.
 * @throws {UsageError} naming the option, its value and what is accepted
 */
export function resolveGenerationOptions(model: Model, options: GenerationOptions): DecodingOptions {
  const { tokenizer, generationConfig, config } = model;
  return resolveOptions(
    options,
    {
      vocabSize: config.vocabSize,
      endTokenIds: generationConfig.eosTokenIds,
      bosTokenId: generationConfig.bosTokenId,
      unkTokenId: tokenizer.isAvailable ? tokenizer.unknownTokenId : undefined,
      // A checkpoint in Hugging Face layout answers as transformers does.
      penalizePrompt: true,
      tokenToId: (token) => tokenizer.tokenToId(token),
    },
    randomInt(2 ** 32),
  );
}
