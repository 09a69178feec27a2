/**
 * The words of decoding: what a caller may ask (CTranslate2's names and defaults), what must be known of the model, and the
 * checked options that the rest of this room reads. Only data; resolve-options.ts makes the one from the other.
 * @see https://opennmt.net/CTranslate2/python/ctranslate2.Generator.html
 */

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
   * Whether the repetition penalty and the n-gram ban look at a prompt that the result leaves out: true for checkpoints in
   * Hugging Face layout, as transformers does; false for CTranslate2's own format, as CTranslate2 does.
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
  /** The penalties look at the prompt too. */
  readonly penalizePrompt: boolean;
  readonly vocabSize: number;
}

/** Whether every token is the likeliest one, so that nothing is left to chance. */
export function isGreedy(options: Pick<DecodingOptions, "samplingTopk" | "samplingTemperature">): boolean {
  return options.samplingTopk === 1 || options.samplingTemperature === 0;
}
