/** What the calls of Generator resolve to: CTranslate2's result types in camelCase. */

/** One prompt's hypotheses, best first. */
export interface GenerationResult {
  /** Tokens of each hypothesis. */
  readonly sequences: readonly (readonly string[])[];
  readonly sequencesIds: readonly (readonly number[])[];
  /** One per hypothesis with returnScores, else empty. */
  readonly scores: readonly number[];
  /** Per hypothesis and step the logits [V] with returnLogitsVocab, else empty. */
  readonly logits: readonly (readonly Float32Array[])[];
  /** Why each hypothesis ended: an end token, or the length allowed by maxLength and the model's context. */
  readonly finishReasons: readonly ("stop" | "length")[];
}

/** One new token. */
export interface GenerationStepResult {
  readonly step: number;
  /** The prompt's place in the caller's list. */
  readonly batchId: number;
  readonly tokenId: number;
  readonly hypothesisId: number;
  readonly token: string;
  /** With returnLogProb, else undefined. */
  readonly logProb: number | undefined;
  readonly isLast: boolean;
}

/** Log probabilities of given tokens; the first token has none. */
export interface ScoringResult {
  readonly tokens: readonly string[];
  readonly logProbs: readonly number[];
}

/** Logits of a batch. */
export interface ForwardResult {
  /** [B, T, V]; T is the longest input, rows beyond a shorter input are 0. */
  readonly shape: readonly [number, number, number];
  readonly data: Float32Array;
}
