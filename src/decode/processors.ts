/**
 * What happens to a row of logits before a token is chosen: a penalty on tokens that have appeared, and bans.
 * Logits and the tokens so far go in, the row is changed in place. All rules are functions of the tokens alone, so that one
 * can know before the step whether the logits will be touched at all.
 */
import type { DecodingOptions } from "./options.ts";

/** The logit of a banned token: the lowest float32, as CTranslate2 returns it. */
export const BANNED_LOGIT = -3.4028234663852886e38;

/** The tokens of one sequence so far. */
export interface History {
  readonly promptIds: readonly number[];
  readonly generatedIds: readonly number[];
}

/** Applies every option that changes logits; logits: [V]. */
export function processLogits(logits: Float32Array, options: DecodingOptions, history: History): void {
  if (options.repetitionPenalty !== 1) {
    penalizeRepetition(logits, penalizedTokens(options, history), options.repetitionPenalty);
  }
  for (const id of bannedTokens(options, history)) logits[id] = BANNED_LOGIT;
}

/** The tokens that may not come next; may name one twice. */
export function bannedTokens(options: DecodingOptions, history: History): number[] {
  const tooShort = countedLength(options, history) < options.minLength;
  return [
    ...(tooShort ? options.endTokenIds : []),
    ...ngramEnds(penalizedTokens(options, history), options.noRepeatNgramSize),
    ...sequenceEnds(allTokens(history), options.suppressSequences),
  ];
}

/** How many tokens minLength, maxLength and the length penalty count. */
export function countedLength(options: DecodingOptions, history: History): number {
  return countedTokens(options, history).length;
}

/** The tokens that belong to the result; where the prompt does, CTranslate2 counts it from its second token on. */
function countedTokens(options: DecodingOptions, { promptIds, generatedIds }: History): readonly number[] {
  return options.includePromptInResult ? [...promptIds.slice(1), ...generatedIds] : generatedIds;
}

function penalizedTokens(options: DecodingOptions, history: History): readonly number[] {
  return options.penalizePrompt ? allTokens(history) : countedTokens(options, history);
}

function allTokens({ promptIds, generatedIds }: History): readonly number[] {
  return [...promptIds, ...generatedIds];
}

/**
 * Divides positive logits by `penalty` and multiplies negative ones, once for each token that has appeared.
 * @see CTRL (Keskar et al. 2019), section 4.1
 */
export function penalizeRepetition(logits: Float32Array, tokenIds: readonly number[], penalty: number): void {
  for (const id of new Set(tokenIds)) {
    const logit = logits[id]!;
    logits[id] = logit > 0 ? logit / penalty : logit * penalty;
  }
}

/** The tokens that would complete an n-gram of this size that `tokenIds` already holds; none for size 0. */
export function ngramEnds(tokenIds: readonly number[], size: number): number[] {
  const ends: number[] = [];
  if (size === 0) return ends;
  const open = tokenIds.length - (size - 1);
  for (let begin = 0; begin < open; begin += 1) {
    const end = begin + size - 1;
    if (isSame(tokenIds, begin, tokenIds, open, size - 1)) ends.push(tokenIds[end]!);
  }
  return ends;
}

/** The last tokens of those `sequences` that `tokenIds` would complete next. */
export function sequenceEnds(tokenIds: readonly number[], sequences: readonly (readonly number[])[]): number[] {
  return sequences
    .filter((sequence) => isSame(sequence, 0, tokenIds, tokenIds.length - (sequence.length - 1), sequence.length - 1))
    .map((sequence) => sequence.at(-1)!);
}

/** a[aBegin ...] and b[bBegin ...] agree in `length` tokens; before its first token a list agrees with nothing. */
function isSame(a: readonly number[], aBegin: number, b: readonly number[], bBegin: number, length: number): boolean {
  for (let i = 0; i < length; i += 1) {
    if (a[aBegin + i] !== b[bBegin + i]) return false;
  }
  return true;
}
