/**
 * What a caller may ask of decoding: GenerationOptions (CTranslate2's names and defaults) go in, checked DecodingOptions come
 * out, with every default filled in and every token turned into its id. One table says what each option accepts; a refusal
 * names the option, its value and what is accepted.
 * @see https://opennmt.net/CTranslate2/python/ctranslate2.Generator.html
 */
import { inspect } from "node:util";
import { UsageError } from "../errors.ts";

/** A token of the vocabulary by its text, or by its id. */
export type TokenOrId = string | number;

/** The options of generateBatch and generateTokens that decide which tokens are chosen. All may be left out. */
export interface GenerationOptions {
  /** 1: one sequence at a time. */
  readonly beamSize?: number;
  /** Sequences per prompt; more than 1 only when sampling. */
  readonly numHypotheses?: number;
  /** A score is the summed log probability / length ** lengthPenalty. */
  readonly lengthPenalty?: number;
  /** Above 1: tokens that have appeared become less likely. 1: off. */
  readonly repetitionPenalty?: number;
  /** No n-gram of this size appears twice. 0: off. */
  readonly noRepeatNgramSize?: number;
  /** The unknown token is never chosen. */
  readonly disableUnk?: boolean;
  /** Token sequences that are never completed. */
  readonly suppressSequences?: readonly (readonly TokenOrId[])[];
  /** Takes the place of the model's end tokens; "": the model's own; []: nothing ends the sequence but its length. */
  readonly endToken?: string | readonly TokenOrId[];
  /** The end token is part of the result. */
  readonly returnEndToken?: boolean;
  /** Most tokens of the result; with includePromptInResult the prompt's count too, all but the first. */
  readonly maxLength?: number;
  /** No end token before this many tokens, counted as in maxLength. */
  readonly minLength?: number;
  readonly includePromptInResult?: boolean;
  /** Begin with the keys and values that earlier calls with this option kept, as far as the prompt begins alike; keep this sequence's. */
  readonly cachePrompt?: boolean;
  readonly returnScores?: boolean;
  /** The logits of every step, as they were when the token was chosen. */
  readonly returnLogitsVocab?: boolean;
  /** Sample among the k likeliest tokens. 1: always the likeliest. 0: all. */
  readonly samplingTopk?: number;
  /** Sample among the likeliest tokens that together reach this probability. 1: all. */
  readonly samplingTopp?: number;
  /** Logits are divided by it before sampling. 0: always the likeliest token. */
  readonly samplingTemperature?: number;
  /** Makes sampling repeatable. */
  readonly seed?: number;
}

/** What decoding must know of the model. */
export interface DecodingVocabulary {
  readonly vocabSize: number;
  readonly endTokenIds: readonly number[];
  readonly unkTokenId?: number | undefined;
  readonly bosTokenId?: number | undefined;
  /**
   * Whether the repetition penalty and the n-gram ban look at the whole prompt: true for checkpoints in Hugging Face layout, as
   * transformers does; false for CTranslate2's own format, which looks at the tokens that maxLength counts.
   */
  readonly penalizePrompt: boolean;
  /** The id of a token's text; undefined when there is none. */
  tokenToId(token: string): number | undefined;
}

/** Checked options, ids instead of tokens; plain data that can be sent to another thread. */
export interface DecodingOptions extends Required<
  Omit<GenerationOptions, "endToken" | "suppressSequences" | "disableUnk" | "beamSize">
> {
  readonly endTokenIds: readonly number[];
  /** None is empty; the unknown token is among them when it is disabled. */
  readonly suppressSequences: readonly (readonly number[])[];
  readonly bosTokenId: number | undefined;
  /** @see DecodingVocabulary */
  readonly penalizePrompt: boolean;
  readonly vocabSize: number;
}

interface Rule {
  readonly standard: unknown;
  readonly accepts: string;
  readonly check: (value: unknown) => boolean;
}

const wholeNumber = (standard: number, least: number, meaning = ""): Rule => ({
  standard,
  accepts: `a whole number of ${least} or more${meaning}`,
  check: (value) => Number.isSafeInteger(value) && (value as number) >= least,
});
const finiteNumber = (standard: number, accepts: string, inRange: (value: number) => boolean): Rule => ({
  standard,
  accepts,
  check: (value) => Number.isFinite(value) && inRange(value as number),
});
const flag = (standard: boolean): Rule => ({
  standard,
  accepts: "true or false",
  check: (value) => typeof value === "boolean",
});
const isToken = (value: unknown) => typeof value === "string" || typeof value === "number";
const isTokenList = (value: unknown) => Array.isArray(value) && value.every(isToken);

const RULES: Readonly<Record<keyof GenerationOptions, Rule>> = {
  beamSize: wholeNumber(1, 1),
  numHypotheses: wholeNumber(1, 1),
  lengthPenalty: finiteNumber(1, "a finite number", () => true),
  repetitionPenalty: finiteNumber(1, "a number above 0 (1 changes nothing)", (value) => value > 0),
  noRepeatNgramSize: wholeNumber(0, 0, " (0 allows every repetition)"),
  disableUnk: flag(false),
  suppressSequences: {
    standard: [],
    accepts: "a list of lists of tokens, none of them empty",
    check: (value) =>
      Array.isArray(value) && value.every((sequence) => isTokenList(sequence) && (sequence as []).length > 0),
  },
  endToken: {
    standard: "",
    accepts: "a token, a list of tokens or a list of token ids",
    check: (value) => typeof value === "string" || isTokenList(value),
  },
  returnEndToken: flag(false),
  maxLength: wholeNumber(512, 0),
  minLength: wholeNumber(0, 0),
  includePromptInResult: flag(true),
  cachePrompt: flag(false),
  returnScores: flag(false),
  returnLogitsVocab: flag(false),
  samplingTopk: wholeNumber(1, 0, " (1 always takes the likeliest token, 0 samples from all)"),
  samplingTopp: finiteNumber(1, "a number above 0, at most 1", (value) => value > 0 && value <= 1),
  samplingTemperature: finiteNumber(
    1,
    "a number of 0 or more (0 always takes the likeliest token)",
    (value) => value >= 0,
  ),
  seed: wholeNumber(0, 0),
};

/**
 * Checks the options and makes them complete.
 * @param seed the seed when the options name none; a random one, unless runs shall repeat each other
 * @throws {UsageError} naming the option, its value and what is accepted
 */
export function resolveOptions(
  options: GenerationOptions,
  vocabulary: DecodingVocabulary,
  seed: number,
): DecodingOptions {
  const complete = withDefaults(options, seed);
  refuseContradictions(complete, vocabulary.vocabSize);
  const { beamSize: _, endToken, suppressSequences, disableUnk, ...rest } = complete;
  const toIds = (name: string, tokens: readonly TokenOrId[]) =>
    tokens.map((token) => resolveToken(name, token, vocabulary));
  const suppressed = suppressSequences.map((sequence) => toIds("suppressSequences", sequence));
  const { unkTokenId } = vocabulary;
  return {
    ...rest,
    endTokenIds:
      endToken === ""
        ? vocabulary.endTokenIds
        : toIds("endToken", typeof endToken === "string" ? [endToken] : endToken),
    suppressSequences: disableUnk && unkTokenId !== undefined ? [...suppressed, [unkTokenId]] : suppressed,
    bosTokenId: vocabulary.bosTokenId,
    penalizePrompt: vocabulary.penalizePrompt,
    vocabSize: vocabulary.vocabSize,
  };
}

/** Whether every token is the likeliest one, so that nothing is left to chance. */
export function isGreedy(options: Pick<DecodingOptions, "samplingTopk" | "samplingTemperature">): boolean {
  return options.samplingTopk === 1 || options.samplingTemperature === 0;
}

function withDefaults(options: GenerationOptions, seed: number): Required<GenerationOptions> {
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  for (const [name, value] of given) {
    const rule = Object.hasOwn(RULES, name) ? RULES[name as keyof GenerationOptions] : refuseUnknown(name);
    if (!rule.check(value)) throw new UsageError(`${name} is ${describe(value)}, but must be ${rule.accepts}.`);
  }
  const standards = Object.entries(RULES).map(([name, rule]) => [name, rule.standard]);
  return Object.fromEntries([...standards, ["seed", seed], ...given]) as Required<GenerationOptions>;
}

function refuseUnknown(name: string): never {
  const plain = (text: string) => text.toLowerCase().replaceAll("_", "");
  const meant = Object.keys(RULES).find((known) => plain(known) === plain(name));
  const remedy = meant === undefined ? `the options are ${Object.keys(RULES).join(", ")}` : `write it ${meant}`;
  throw new UsageError(`There is no generation option "${name}": ${remedy}.`);
}

/** What each option accepts alone, but not together with the others. */
function refuseContradictions(options: Required<GenerationOptions>, vocabSize: number): void {
  const { beamSize, numHypotheses, minLength, maxLength, samplingTopk } = options;
  if (beamSize > 1) {
    throw new UsageError(`beamSize is ${beamSize}, but beam search is not there yet: leave it out, or give 1.`);
  }
  if (numHypotheses > 1 && isGreedy(options)) {
    throw new UsageError(
      `numHypotheses is ${numHypotheses}, which is greater than beamSize 1: give 1, or sample ` +
        "(samplingTopk other than 1 and samplingTemperature above 0), so that the hypotheses can differ.",
    );
  }
  if (minLength > maxLength) {
    throw new UsageError(
      `minLength ${minLength} is greater than maxLength ${maxLength}: lower the one or raise the other.`,
    );
  }
  if (samplingTopk > vocabSize) {
    throw new UsageError(
      `samplingTopk is ${samplingTopk}, which is greater than the vocabulary of ${vocabSize} tokens: ` +
        `give at most ${vocabSize}, or 0 to sample from all.`,
    );
  }
}

function resolveToken(name: string, token: TokenOrId, vocabulary: DecodingVocabulary): number {
  if (typeof token === "number") {
    requireTokenId(token, vocabulary.vocabSize, name);
    return token;
  }
  const id = vocabulary.tokenToId(token);
  if (id === undefined) {
    throw new UsageError(
      `${name} names ${describe(token)}, which is not in the vocabulary of ${vocabulary.vocabSize} tokens.`,
    );
  }
  return id;
}

/** @throws {UsageError} when `id` is not one of the vocabulary; `where` says where it stood. */
export function requireTokenId(id: number, vocabSize: number, where: string): void {
  if (Number.isInteger(id) && id >= 0 && id < vocabSize) return;
  throw new UsageError(`${where} holds the token id ${id}, but the model's token ids go from 0 to ${vocabSize - 1}.`);
}

function describe(value: unknown): string {
  return typeof value === "string" ? JSON.stringify(value) : inspect(value, { breakLength: Infinity });
}
