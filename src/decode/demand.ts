/**
 * How much of the logits the next choice needs. When nothing touches them and the likeliest token wins, each rank's best
 * candidate is enough, and V logits need not be gathered; the answer is known before the step runs.
 */
import { isGreedy, type DecodingOptions } from "./options.ts";
import { bannedTokens, type History } from "./processors.ts";

export type LogitsDemand = "argmax" | "logits";

/** The best token of one rank's part of the vocabulary; tokenId is an id of the whole one, or -1 when the rank has no part. */
export interface Candidate {
  readonly tokenId: number;
  readonly logit: number;
}

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

/** The best of the ranks' candidates: the highest logit, the lowest id on ties, exactly as argmax over the whole row. */
export function mergeArgmax(candidates: readonly Candidate[]): Candidate {
  return candidates
    .filter((candidate) => candidate.tokenId >= 0)
    .reduce((best, other) => {
      const isBetter = other.logit > best.logit || (other.logit === best.logit && other.tokenId < best.tokenId);
      return isBetter ? other : best;
    });
}
