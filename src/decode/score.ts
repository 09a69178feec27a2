/**
 * Log probabilities from rows of logits [V]: of one token, of a whole row, of the tokens of a text.
 * Sums are taken in float64, so that the answer does not depend on the size of the vocabulary.
 */

/** log(sum(exp(logits))), the distance of each logit from its log probability. */
export function logSumExp(logits: Float32Array): number {
  let highest = -Infinity;
  for (let id = 0; id < logits.length; id += 1) if (logits[id]! > highest) highest = logits[id]!;
  let sum = 0;
  for (let id = 0; id < logits.length; id += 1) sum += Math.exp(logits[id]! - highest);
  return highest + Math.log(sum);
}

/** log p(token) under the softmax of the row. */
export function logProbability(logits: Float32Array, tokenId: number): number {
  return logits[tokenId]! - logSumExp(logits);
}

/** Turns the row into log probabilities, in place. */
export function logSoftmax(logits: Float32Array): void {
  const normalizer = logSumExp(logits);
  for (let id = 0; id < logits.length; id += 1) logits[id]! -= normalizer;
}

/**
 * log p(token i given the tokens before it) for every token but the first.
 * @param rows the logits after each token; rows[i] predicts tokenIds[i + 1], the last row is not needed
 */
export function scoreTokens(tokenIds: readonly number[], rows: readonly Float32Array[]): number[] {
  return tokenIds.slice(1).map((id, i) => logProbability(rows[i]!, id));
}
