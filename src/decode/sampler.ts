/**
 * Chooses one token from a row of processed logits: the likeliest, or a random one after temperature, top-k and top-p, in
 * that order, as transformers applies them.
 */
import { ExecutionError } from "../errors.ts";
import { isGreedy, type DecodingOptions } from "./options.ts";
import { nextUniform, type RandomState } from "./random.ts";

export type SamplingOptions = Pick<DecodingOptions, "samplingTopk" | "samplingTopp" | "samplingTemperature">;

/** The chosen token of logits [V]; only sampling moves `random` on. */
export function chooseToken(logits: Float32Array, options: SamplingOptions, random: RandomState): number {
  return isGreedy(options) ? argmax(logits) : sampleToken(logits, options, random);
}

/**
 * The token with the highest logit, the lowest id on ties.
 * @throws {ExecutionError} when a logit is not a number, or the highest is not finite
 */
export function argmax(logits: Float32Array): number {
  let best = 0;
  for (let id = 0; id < logits.length; id += 1) {
    if (logits[id]! > logits[best]!) best = id;
    else if (Number.isNaN(logits[id])) return refuseLogits(`the logit of token ${id} is NaN`);
  }
  return Number.isFinite(logits[best]) ? best : refuseLogits(`the logit of token ${best} is ${logits[best]}`);
}

/** @throws {ExecutionError} always; `finding` says what is wrong with the logits */
export function refuseLogits(finding: string): never {
  throw new ExecutionError(
    `No token can be chosen: ${finding}. The checkpoint may be damaged, or its values too large for the data type it runs in.`,
  );
}

/** Draws a token with the probabilities that temperature, top-k and top-p leave; cost: O(V), and a sort of the values to cut. */
export function sampleToken(logits: Float32Array, options: SamplingOptions, random: RandomState): number {
  const highest = logits[argmax(logits)]!;
  const kept = keepLargest(logits, options.samplingTopk === 0 ? logits.length : options.samplingTopk);
  const weights = new Float64Array(kept.length);
  for (let i = 0; i < kept.length; i += 1) {
    weights[i] = Math.exp((logits[kept[i]!]! - highest) / options.samplingTemperature);
  }
  const nucleus = keepLargest(weights, numReaching(weights, options.samplingTopp));
  return kept[nucleus[draw(weights, nucleus, nextUniform(random))]!]!;
}

/** The places of the `count` largest values, ascending; among equals at the border the first ones. */
export function keepLargest(values: Float32Array | Float64Array, count: number): Uint32Array {
  const kept = new Uint32Array(Math.min(count, values.length));
  if (kept.length === values.length) return kept.map((_, place) => place);
  const bound = boundOfLargest(values, count);
  const largest = values
    .filter((value) => value >= bound)
    .sort()
    .subarray(-count);
  const border = largest[0]!;
  let numAtBorder = largest.lastIndexOf(border) + 1;
  let numKept = 0;
  for (let place = 0; numKept < count; place += 1) {
    if (values[place]! < border || (values[place] === border && numAtBorder-- <= 0)) continue;
    kept[numKept++] = place;
  }
  return kept;
}

/** A value that at least `count` values reach, so that the others need no sorting: the count-th largest of the maxima of blocks. */
function boundOfLargest(values: Float32Array | Float64Array, count: number): number {
  const blockLength = Math.floor(Math.sqrt(values.length / count));
  const maxima = new Float64Array(Math.ceil(values.length / blockLength)).fill(-Infinity);
  for (let i = 0; i < values.length; i += 1) {
    const block = Math.floor(i / blockLength);
    if (values[i]! > maxima[block]!) maxima[block] = values[i]!;
  }
  return maxima.sort()[maxima.length - count]!;
}

/** How many of the largest weights together reach the share `topp` of their sum; at least one. */
export function numReaching(weights: Float64Array, topp: number): number {
  if (topp >= 1) return weights.length;
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  // Weights this small do not reach 1 - topp even together, so they are all cut off, and need no sorting.
  const negligible = ((1 - topp) * total) / weights.length;
  const sorted = weights.filter((weight) => weight >= negligible).sort();
  let sum = 0;
  let count = 0;
  while (count < sorted.length && sum < topp * total) {
    count += 1;
    sum += sorted[sorted.length - count]!;
  }
  return count;
}

/**
 * The index in `places` at which the running sum of their weights passes the share `uniform` of the whole; never a weight of 0.
 * @param uniform in [0, 1)
 */
export function draw(weights: Float64Array, places: Uint32Array, uniform: number): number {
  let total = 0;
  for (const place of places) total += weights[place]!;
  const target = uniform * total;
  let i = 0;
  let sum = weights[places[0]!]!;
  while (sum <= target) {
    i += 1;
    sum += weights[places[i]!]!;
  }
  return i;
}
