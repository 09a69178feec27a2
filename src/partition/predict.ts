/**
 * What a plan makes of a decode step: from a step measured on one rank, and what a message between ranks costs, to the
 * step's time on all of them. Pure arithmetic; programs/plan-predict.ts measures, and tells people.
 *
 *     step = cut ops * largest share of the products' bytes + all else + the step's collectives
 */
import { DATA_TYPE_BYTES } from "../model/graph.ts";
import type { CollectivePlan, Plan, WeightPlan } from "./plan.ts";
import { countIndices } from "./runs.ts";

/** A decode step of the whole model on one rank. */
export interface MeasuredStep {
  readonly seconds: number;
  /** Of these, inside the nodes of each op type. */
  readonly opSeconds: ReadonlyMap<string, number>;
  readonly numThreads: number;
}

/** What lies between two ranks. */
export interface Link {
  /** Of a small message, one way. */
  readonly latencySeconds: number;
  /** Into one rank, as long as it takes a large message. */
  readonly bytesPerSecond: number;
  /** Up to here an allReduce is one direct exchange; between two ranks, `pairBytes` counts. */
  readonly oneShotBytes: number;
  readonly pairBytes: number;
}

/** Where the ranks run. */
export interface Placement {
  readonly threadsPerRank: number;
  /** Cores that all ranks share; undefined: each rank has a host like this one to itself. */
  readonly sharedCores: number | undefined;
}

export interface Prediction {
  readonly numRanks: number;
  readonly tokensPerSecond: number;
  readonly stepSeconds: number;
  /** Of the step, in collectives. */
  readonly waitingSeconds: number;
}

/** Beside the graph's collectives each step broadcasts its command, and each rank sends its best candidate: one latency each. */
const SMALL_MESSAGES_PER_STEP = 2;

/** Products read a weight's bytes, all of them, once per step; other nodes look up rows of theirs. */
const PRODUCT = /MatMul|Gemm/;

/** Threads of the one rank to measure: as many as all ranks keep busy together. */
export function threadsToMeasure(numRanks: number, { threadsPerRank, sharedCores }: Placement): number {
  return sharedCores === undefined ? threadsPerRank : Math.min(Math.max(sharedCores, 1), numRanks * threadsPerRank);
}

/** @param step measured with `threadsToMeasure` threads */
export function predictStep(plan: Plan, step: MeasuredStep, link: Link, placement: Placement): Prediction {
  const numRanks = plan.worldSize;
  const waitingSeconds =
    numRanks === 1
      ? 0
      : SMALL_MESSAGES_PER_STEP * link.latencySeconds +
        plan.collectives
          .filter(({ insideGraph }) => insideGraph)
          .reduce((sum, collective) => sum + predictCollective(collective, numRanks, link), 0);
  const stepSeconds = predictCompute(plan, step, placement) + waitingSeconds;
  return { numRanks, tokensPerSecond: 1 / stepSeconds, stepSeconds, waitingSeconds };
}

/**
 * The slowest rank's part of the step. A step's thread-seconds are those that were measured, so memory which the ranks' threads share
 * was shared in the measurement too. More threads than cores run in turns.
 */
function predictCompute(plan: Plan, step: MeasuredStep, { threadsPerRank, sharedCores }: Placement): number {
  if (plan.worldSize === 1) return step.seconds;
  const cutTypes = new Set<string>(
    plan.nodes
      .filter(({ inputs, outputs }) => [...inputs, ...outputs].some(({ kind }) => kind === "Shard"))
      .map(({ node }) => node.opType),
  );
  const areProductsCut = [...cutTypes].some((type) => PRODUCT.test(type));
  // A product may run under another name than the plan's, as PackedMatMul.
  const isCut = (type: string) => (PRODUCT.test(type) ? areProductsCut : cutTypes.has(type));
  const cutSeconds = [...step.opSeconds].reduce((sum, [type, seconds]) => sum + (isCut(type) ? seconds : 0), 0);
  const shared = (cutSeconds * step.numThreads * largestShare(plan)) / threadsPerRank;
  const turns = sharedCores === undefined ? 1 : Math.ceil((plan.worldSize * threadsPerRank) / sharedCores);
  return turns * (shared + step.seconds - cutSeconds);
}

/** Of the bytes that the products of the whole model read, the part of the rank that reads most. */
export function largestShare(plan: Plan): number {
  const products = new Set(plan.nodes.filter(({ node }) => PRODUCT.test(node.opType)).map(({ node }) => node.name));
  const weights = plan.weights.filter(({ node }) => products.has(node));
  const rankBytes = Array.from({ length: plan.worldSize }, (_, rank) =>
    weights.reduce((sum, weight) => sum + (weight.rankBytes[rank] ?? 0), 0),
  );
  const wholeBytes = weights.reduce((sum, weight) => sum + countWholeBytes(weight), 0);
  return wholeBytes === 0 ? 1 : Math.max(...rankBytes) / wholeBytes;
}

function countWholeBytes({ sharding, shape, rankBytes }: WeightPlan): number {
  if (sharding.kind !== "Shard") return rankBytes[0] ?? 0;
  const held = sharding.runs.reduce((sum, runs) => sum + countIndices(runs), 0);
  const heldBytes = rankBytes.reduce((sum, bytes) => sum + bytes, 0);
  return (heldBytes * shape[sharding.axis]!) / held;
}

/** The costs of native/collectives/algorithms.h: a latency per step, and the bytes that a rank takes. One row, one token. */
function predictCollective({ kind, elementsPerToken }: CollectivePlan, numRanks: number, link: Link): number {
  const bytes = elementsPerToken * DATA_TYPE_BYTES.float32; // int32 is as long
  const others = numRanks - 1;
  if (kind === "allGather") return link.latencySeconds + ((bytes / numRanks) * others) / link.bytesPerSecond;
  return bytes <= (numRanks === 2 ? link.pairBytes : link.oneShotBytes)
    ? link.latencySeconds + (bytes * others) / link.bytesPerSecond
    : 2 * (link.latencySeconds + ((bytes / numRanks) * others) / link.bytesPerSecond);
}

/** One plain sentence: up to where another rank pays. @param predictions for 1, 2, 3 ... ranks */
export function describePredictions(predictions: readonly Prediction[], place: "rank" | "host"): string {
  const rate = ({ tokensPerSecond }: Prediction): string => formatRate(tokensPerSecond);
  const index = predictions.findIndex(({ tokensPerSecond }, at) => {
    return at > 0 && tokensPerSecond <= predictions[at - 1]!.tokensPerSecond;
  });
  if (index === -1) {
    const last = predictions.at(-1)!;
    return `Each ${place} up to ${last.numRanks} makes it faster: ${rate(last)} tokens/s instead of ${rate(predictions[0]!)} on one.`;
  }
  const before = predictions[index - 1]!;
  const slower = predictions[index]!;
  const waiting = Math.round((100 * slower.waitingSeconds) / slower.stepSeconds);
  return (
    `A ${nameNth(slower.numRanks)} ${place} makes it slower: ${rate(slower)} tokens/s instead of ${rate(before)}, ` +
    `with ${waiting} % of each step spent waiting for other ranks.`
  );
}

/** Three digits that count. */
export function formatRate(tokensPerSecond: number): string {
  return tokensPerSecond < 100 ? tokensPerSecond.toPrecision(3) : tokensPerSecond.toFixed(0);
}

function nameNth(count: number): string {
  return ["", "first", "second", "third", "fourth"][count] ?? `${count}th`;
}
