/**
 * One sequence while it is generated: options and a prompt go in, then the logits of one step after the other; the tokens
 * come out one by one, and at the end the result. The choice depends on nothing but (options, prompt, stream, logits), so that
 * a sequence comes out the same whatever else is in the batch.
 */
import { logitsDemand, needsLogProbs, type LogitsDemand } from "./demand.ts";
import type { DecodingOptions } from "./options.ts";
import { countedLength, processLogits, type History } from "./processors.ts";
import { createRandomState, type RandomState } from "./random.ts";
import { chooseToken, refuseLogits } from "./sampler.ts";
import { logProbability } from "./score.ts";

/** "stop": an end token came; "length": maxLength or the model's context is used up. */
export type FinishReason = "stop" | "length";

/** One chosen token. */
export interface SequenceStep {
  readonly tokenId: number;
  /** When scores are asked for: the log probability after penalties and bans, without temperature. */
  readonly logProb: number | undefined;
  /** Set with the last token. */
  readonly finishReason: FinishReason | undefined;
}

export interface SequenceResult {
  /** What the options ask for: with or without prompt and end token. */
  readonly tokenIds: readonly number[];
  /** All tokens that were chosen, the end token included where it came. */
  readonly generatedIds: readonly number[];
  /** undefined while the sequence is under way. */
  readonly finishReason: FinishReason | undefined;
  readonly score: number | undefined;
  /** One row [V] per chosen token, when asked for. */
  readonly logits: readonly Float32Array[];
}

/** Where a sequence stands among the others, and how much room it has. */
export interface SequencePlace {
  /** Number of its random stream: distinct for every prompt and hypothesis of a call. */
  readonly stream: number;
  /** Positions that the model can hold, the prompt's included. */
  readonly maxContext: number;
}

/** A sequence under way; ask `finishReason` before the first step, since a prompt can leave no room at all. */
export class Sequence {
  finishReason: FinishReason | undefined;
  readonly #options: DecodingOptions;
  readonly #promptIds: readonly number[];
  readonly #generatedIds: number[] = [];
  readonly #logits: Float32Array[] = [];
  readonly #random: RandomState;
  readonly #maxNewTokens: number;
  #sumLogProbs = 0;

  constructor(options: DecodingOptions, promptIds: readonly number[], place: SequencePlace) {
    this.#options = options;
    this.#promptIds = promptIds;
    this.#random = createRandomState(options.seed, place.stream);
    this.#maxNewTokens = maxNewTokens(options, promptIds.length, place.maxContext);
    this.finishReason = this.#maxNewTokens === 0 ? "length" : undefined;
  }

  /** What the next step has to bring. */
  demand(): LogitsDemand {
    return logitsDemand(this.#options, this.#history);
  }

  /** Chooses the next token from the logits after the last one; logits: [V], overwritten. */
  next(logits: Float32Array): SequenceStep {
    processLogits(logits, this.#options, this.#history);
    if (this.#options.returnLogitsVocab) this.#logits.push(logits.slice());
    const tokenId = chooseToken(logits, this.#options, this.#random);
    return this.#append(tokenId, needsLogProbs(this.#options) ? logProbability(logits, tokenId) : undefined);
  }

  /**
   * Takes the token that the ranks found to be the likeliest, when demand() was "argmax".
   * @throws {ExecutionError} when they found none, which a negative id says
   */
  accept(tokenId: number): SequenceStep {
    if (tokenId < 0) refuseLogits("a logit is not a finite number");
    return this.#append(tokenId, undefined);
  }

  /** The tokens and score of what has been chosen so far. */
  result(): SequenceResult {
    return {
      tokenIds: [...this.#promptInResult(), ...this.#newInResult()],
      generatedIds: [...this.#generatedIds],
      finishReason: this.finishReason,
      score: needsLogProbs(this.#options) ? this.#score() : undefined,
      logits: this.#logits,
    };
  }

  get #history(): History {
    return { promptIds: this.#promptIds, generatedIds: this.#generatedIds };
  }

  #append(tokenId: number, logProb: number | undefined): SequenceStep {
    this.#generatedIds.push(tokenId);
    this.#sumLogProbs += logProb ?? 0;
    if (this.#options.endTokenIds.includes(tokenId)) this.finishReason = "stop";
    else if (this.#generatedIds.length === this.#maxNewTokens) this.finishReason = "length";
    return { tokenId, logProb, finishReason: this.finishReason };
  }

  /** A leading beginning token is left out; a prompt longer than maxLength is cut to it. */
  #promptInResult(): readonly number[] {
    const { includePromptInResult, maxLength, bosTokenId } = this.#options;
    if (!includePromptInResult) return [];
    return this.#promptIds.slice(this.#promptIds[0] === bosTokenId ? 1 : 0, maxLength + 1);
  }

  #newInResult(): readonly number[] {
    const { endTokenIds, returnEndToken } = this.#options;
    const isEnded = endTokenIds.includes(this.#generatedIds.at(-1) ?? -1);
    return isEnded && !returnEndToken ? this.#generatedIds.slice(0, -1) : this.#generatedIds;
  }

  /** Summed log probability / length ** lengthPenalty; the end token counts, and so do the prompt's tokens as in maxLength. */
  #score(): number {
    if (this.#generatedIds.length === 0) return 0;
    return this.#sumLogProbs / countedLength(this.#options, this.#history) ** this.#options.lengthPenalty;
  }
}

/** How many tokens can be chosen: by maxLength, and by the context, where the last token needs no position. */
export function maxNewTokens(options: DecodingOptions, promptLength: number, maxContext: number): number {
  const counted = options.includePromptInResult ? promptLength - 1 : 0;
  return Math.max(0, Math.min(options.maxLength - counted, maxContext - promptLength + 1));
}

/** One prompt's hypotheses, best score first; in their given order when there are no scores. */
export function rankHypotheses<Hypothesis extends Pick<SequenceResult, "score">>(
  hypotheses: readonly Hypothesis[],
): Hypothesis[] {
  return hypotheses.toSorted((a, b) => (b.score ?? 0) - (a.score ?? 0));
}
