/**
 * What a plan makes of a decode step: from steps measured on one rank, and what messages between ranks cost, to the
 * step's time on all of them. Pure arithmetic; programs/plan-predict.ts measures, and tells people.
 *
 *     step = cut ops * share of the products' bytes + all else, where cores lack in turns, + the step's collectives
 */
import { DATA_TYPE_BYTES } from "../model/graph.ts";
import { exchangeSeconds, listExchanges, messageSeconds, type AlgorithmLimits, type Links } from "./collective-cost.ts";
import type { CollectivePlan, Plan, WeightPlan } from "./plan.ts";
import { countIndices } from "./runs.ts";

/** A decode step of the whole model on one rank. */
export interface MeasuredStep {
  readonly seconds: number;
  /** Of these, inside the nodes of each op type. */
  readonly opSeconds: ReadonlyMap<string, number>;
}

/** By how many threads the rank had. */
export type MeasuredSteps = ReadonlyMap<number, MeasuredStep>;

/** Ranks that share cores and memory. */
export interface Machine {
  readonly ranks: readonly number[];
  readonly threadsPerRank: number;
  readonly numCores: number;
}

/** Where the ranks run. */
export interface Placement {
  /** How many ranks each host has. */
  readonly hosts: readonly number[];
  /** The hosts, or one for all of them when they are containers of one machine. */
  readonly machines: readonly Machine[];
}

export interface Network extends AlgorithmLimits {
  readonly links: Links;
}

export interface Prediction {
  readonly numRanks: number;
  readonly tokensPerSecond: number;
  readonly stepSeconds: number;
  /** Of the step, in collectives. */
  readonly waitingSeconds: number;
  /** Whether ranks share cores that are too few for all of them. */
  readonly takesTurns: boolean;
}

/** Beside the graph's collectives each step broadcasts its command, and each rank sends its best candidate: one latency each. */
const SMALL_MESSAGES_PER_STEP = 2;

/** Products read a weight's bytes, all of them, once per step; other nodes look up rows of theirs. */
const PRODUCT = /MatMul|Gemm/;
/** Ops of which passes over a rank's graph make others: by those, what the plan has. */
const PLANNED_AS: ReadonlyMap<string, string> = new Map([
  ["CachedAttention", "GroupQueryAttention"],
  ["GatedSilu", "Mul"],
]);

/** How long a rank keeps its core while another wants it: Linux looks at each tick of its clock (CONFIG_HZ=250). */
const TURN_SECONDS = 4e-3;

/**
 * @param steps measured with `threadsToMeasure`
 * @param network undefined: one rank, which waits for nobody
 */
export function predictStep(
  plan: Plan,
  steps: MeasuredSteps,
  network: Network | undefined,
  placement: Placement,
): Prediction {
  const numRanks = plan.worldSize;
  const waitingSeconds = network === undefined ? 0 : predictWaiting(plan, network, placement.hosts);
  const stepSeconds = predictCompute(plan, steps, placement) + waitingSeconds;
  const takesTurns = placement.machines.some((machine) => machine.ranks.length > countAtOnce(machine));
  return { numRanks, tokensPerSecond: 1 / stepSeconds, stepSeconds, waitingSeconds, takesTurns };
}

function predictWaiting({ collectives }: Plan, network: Network, hosts: readonly number[]): number {
  const { links } = network;
  const latencySeconds = messageSeconds(links[hosts.length === 1 ? "ranks of a host" : "hosts"], 0);
  return collectives
    .filter(({ insideGraph }) => insideGraph)
    .reduce(
      (sum, { kind, elementsPerToken }) =>
        sum + exchangeSeconds(listExchanges({ kind, bytes: countTokenBytes(elementsPerToken) }, hosts, network), links),
      SMALL_MESSAGES_PER_STEP * latencySeconds,
    );
}

/** Of one row and one token; int32 is as long as float32. */
export function countTokenBytes(elementsPerToken: CollectivePlan["elementsPerToken"]): number {
  return elementsPerToken * DATA_TYPE_BYTES.float32;
}

/** The slowest machine's part of the step, waiting apart. */
function predictCompute(plan: Plan, steps: MeasuredSteps, { machines }: Placement): number {
  const cutTypes = new Set<string>(
    plan.nodes
      .filter(({ inputs, outputs }) => [...inputs, ...outputs].some(({ kind }) => kind === "Shard"))
      .map(({ node }) => node.opType),
  );
  const areProductsCut = [...cutTypes].some((type) => PRODUCT.test(type));
  // An op may run under another name than the plan's, a product for example as PackedMatMul.
  const isCut = (type: string): boolean =>
    PRODUCT.test(type) ? areProductsCut : cutTypes.has(PLANNED_AS.get(type) ?? type);
  const shares = rankShares(plan);
  const numPhases = countPhases(plan);
  return Math.max(
    ...machines.map((machine) => {
      const share = Math.max(...machine.ranks.map((rank) => shares[rank]!));
      const { numCores, threadsPerRank } = machine;
      /** With so many threads of the machine at work, that share its memory. */
      const rankSeconds = (numThreads: number): number => {
        const measured = nearestStep(steps, Math.min(numCores, numThreads));
        const [ownThreads, { seconds, opSeconds }] = measured;
        const cutSeconds = [...opSeconds].reduce((sum, [type, each]) => sum + (isCut(type) ? each : 0), 0);
        const threadSeconds = cutSeconds * ownThreads;
        return (threadSeconds * share) / Math.min(threadsPerRank, numCores) + seconds - cutSeconds;
      };
      return takeTurns(machine, rankSeconds, numPhases);
    }),
  );
}

/** What lies between the step's collectives, before the first and behind the last. */
function countPhases({ collectives }: Plan): number {
  return 1 + collectives.filter(({ insideGraph }) => insideGraph).length;
}

/** How long one rank computes between two collectives. */
export function predictWork(plan: Plan, steps: MeasuredSteps, placement: Placement): number {
  const seconds = predictCompute(plan, steps, placement) / countPhases(plan);
  return (seconds * seconds) / phaseSeconds(placement, seconds);
}

/** What it takes until all ranks have computed for `workSeconds` each, between two collectives. */
export function phaseSeconds({ machines }: Placement, workSeconds: number): number {
  return Math.max(...machines.map((machine) => takeTurns(machine, () => workSeconds, 1)));
}

/** How many ranks have their threads on the cores at the same time. */
function countAtOnce({ numCores, threadsPerRank }: Machine): number {
  return Math.max(1, Math.floor(numCores / threadsPerRank));
}

/**
 * Ranks that find no core wait for those that have one. In each phase, up to the next collective, a rank keeps its core until it is
 * done or its turn is over: phases shorter than a turn run in whole turns, two of them for three ranks on two cores; long ones divide the
 * cores evenly. When the last turn leaves cores idle, the others have the memory for themselves.
 */
function takeTurns(machine: Machine, rankSeconds: (numThreads: number) => number, numPhases: number): number {
  const { ranks, threadsPerRank } = machine;
  const atOnce = countAtOnce(machine);
  if (ranks.length <= atOnce) return rankSeconds(ranks.length * threadsPerRank);
  const seconds = rankSeconds(atOnce * threadsPerRank);
  const turnsPerRank = Math.ceil(seconds / numPhases / TURN_SECONDS);
  const turns = ranks.length * turnsPerRank;
  const numLast = turns % atOnce;
  const last = numLast === 0 ? 0 : rankSeconds(numLast * threadsPerRank);
  return (Math.floor(turns / atOnce) * seconds + last) / turnsPerRank;
}

/** Threads of one rank that are to be measured: as many as ranks keep busy together, in full turns and in the last. */
export function threadsToMeasure({ machines }: Placement): number[] {
  const counts = machines.flatMap((machine) => {
    const { ranks, threadsPerRank, numCores } = machine;
    const atOnce = countAtOnce(machine);
    const full = Math.min(ranks.length, atOnce);
    return [full, ranks.length > atOnce ? ranks.length % atOnce || full : full].map((numRanks) =>
      Math.min(numRanks * threadsPerRank, numCores),
    );
  });
  return [...new Set(counts)];
}

/** The step with so many threads, else with the next larger number that was measured, else with the largest. */
function nearestStep(steps: MeasuredSteps, numThreads: number): readonly [number, MeasuredStep] {
  const sorted = [...steps].toSorted(([a], [b]) => a - b);
  return sorted.find(([count]) => count >= numThreads) ?? sorted.at(-1)!;
}

/** Of the bytes that the products of the whole model read, each rank's part. */
export function rankShares(plan: Plan): number[] {
  const products = new Set(plan.nodes.filter(({ node }) => PRODUCT.test(node.opType)).map(({ node }) => node.name));
  const weights = plan.weights.filter(({ node }) => products.has(node));
  const wholeBytes = weights.reduce((sum, weight) => sum + countWholeBytes(weight), 0);
  return Array.from({ length: plan.worldSize }, (_, rank) => {
    const bytes = weights.reduce((sum, weight) => sum + (weight.rankBytes[rank] ?? 0), 0);
    return wholeBytes === 0 ? 1 : bytes / wholeBytes;
  });
}

function countWholeBytes({ sharding, shape, rankBytes }: WeightPlan): number {
  if (sharding.kind !== "Shard") return rankBytes[0] ?? 0;
  const held = sharding.runs.reduce((sum, runs) => sum + countIndices(runs), 0);
  const heldBytes = rankBytes.reduce((sum, bytes) => sum + bytes, 0);
  return (heldBytes * shape[sharding.axis]!) / held;
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
    `with ${waiting} % of each step spent waiting for other ranks` +
    (slower.takesTurns ? ", which take turns on fewer cores." : ".")
  );
}

/** Three digits that count. */
export function formatRate(tokensPerSecond: number): string {
  return tokensPerSecond < 100 ? tokensPerSecond.toPrecision(3) : tokensPerSecond.toFixed(0);
}

function nameNth(count: number): string {
  return ["", "first", "second", "third", "fourth"][count] ?? `${count}th`;
}
