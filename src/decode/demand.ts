/**
 * How much of the logits the next choice needs. When nothing touches them and the likeliest token wins, each rank's best
 * candidate is enough, and V logits need not be gathered; the answer is known before the step runs.
 */
import { isGreedy, type DecodingOptions } from "./options.ts";
import { bannedTokens, type History } from "./processors.ts";

export type LogitsDemand = "argmax" | "logits";

/** "argmax": the highest logit's token suffices; "logits": the whole row is needed. */
export function logitsDemand(options: DecodingOptions, history: History): LogitsDemand {
  const isTouched = options.repetitionPenalty !== 1 || bannedTokens(options, history).length > 0;
  const isSeen = needsLogProbs(options) || options.returnLogitsVocab;
  return isGreedy(options) && !isTouched && !isSeen ? "argmax" : "logits";
}

/** Scores are asked for, or several hypotheses have to be put in order. */
export function needsLogProbs(options: DecodingOptions): boolean {
  return options.returnScores || options.numHypotheses > 1;
}
