/**
 * What a plan makes of a decode step: from steps measured on ranks of one machine, and what messages between ranks cost, to the
 * step's time on all of them. Pure arithmetic; programs/plan-predict.ts measures, and tells people.
 *
 *     step = measured step, its cut ops by share of the products' bytes + what the collectives take more than those measured
 */
import { InternalError } from "../errors.ts";
import { DATA_TYPE_BYTES } from "../model/graph.ts";
import { exchangeSeconds, listExchanges, messageSeconds, type AlgorithmLimits, type Links } from "./collective-cost.ts";
import type { CollectivePlan, Plan, WeightPlan } from "./plan.ts";
import { countIndices } from "./runs.ts";

/** A decode step of the whole model on ranks of one machine. */
export interface MeasuredStep {
  readonly seconds: number;
  /** Of these, in collectives, waiting for each other and taking turns included. */
  readonly collectiveSeconds: number;
  /** Of these, inside the nodes of each op type. */
  readonly opSeconds: ReadonlyMap<string, number>;
  /** Between two nodes. */
  readonly nodeSeconds: number;
}

/** Ranks that share the cores and the memory of one machine, and are measured together. */
export interface Company {
  readonly numRanks: number;
  readonly threadsPerRank: number;
  /** They are the whole world wherever they are, so that their step counts as it is. */
  readonly isWhole: boolean;
}

export interface MeasuredCompany {
  readonly company: Company;
  readonly step: MeasuredStep;
  /** The plan that they carried out. */
  readonly plan: Plan;
}

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

/**
 * @param measured every one of `companiesToMeasure`
 * @param network undefined: one rank, which waits for nobody
 */
export function predictStep(
  plan: Plan,
  measured: readonly MeasuredCompany[],
  network: Network | undefined,
  placement: Placement,
): Prediction {
  const slowest = findSlowest(plan, measured, placement);
  const { company, step } = slowest.measured;
  const here = predictExchanges(slowest.measured.plan, network, [company.numRanks]);
  const moreSeconds = predictExchanges(plan, network, placement.hosts) - here;
  const stepSeconds = slowest.seconds + moreSeconds;
  return {
    numRanks: plan.worldSize,
    tokensPerSecond: 1 / stepSeconds,
    stepSeconds,
    waitingSeconds: step.collectiveSeconds + moreSeconds,
    takesTurns: placement.machines.some(
      ({ ranks, threadsPerRank, numCores }) => ranks.length > 1 && ranks.length * threadsPerRank > numCores,
    ),
  };
}

/** What a step's collectives take between ranks that have computed. */
function predictExchanges(
  { collectives, worldSize }: Plan,
  network: Network | undefined,
  hosts: readonly number[],
): number {
  if (network === undefined || worldSize === 1) return 0;
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

/** The machine whose ranks take longest: what was measured for it, and its step with this plan's shares. */
function findSlowest(
  plan: Plan,
  measured: readonly MeasuredCompany[],
  { machines }: Placement,
): { readonly measured: MeasuredCompany; readonly seconds: number } {
  const shares = rankShares(plan);
  return machines
    .map((machine) => {
      const found = findCompany(measured, machine);
      const share = Math.max(...machine.ranks.map((rank) => shares[rank]!));
      return { measured: found, seconds: scaleStep(plan, found, share / Math.max(...rankShares(found.plan))) };
    })
    .reduce((slowest, each) => (each.seconds > slowest.seconds ? each : slowest));
}

/** A measured step with so much of the cut ops instead, and this plan's collectives, each of which is one node more. */
function scaleStep(plan: Plan, { company, step, plan: own }: MeasuredCompany, ratio: number): number {
  if (company.isWhole) return step.seconds;
  const cutTypes = new Set<string>(
    plan.nodes
      .filter(({ inputs, outputs }) => [...inputs, ...outputs].some(({ kind }) => kind === "Shard"))
      .map(({ node }) => node.opType),
  );
  const areProductsCut = [...cutTypes].some((type) => PRODUCT.test(type));
  // An op may run under another name than the plan's, a product for example as PackedMatMul.
  const isCut = (type: string): boolean =>
    PRODUCT.test(type) ? areProductsCut : cutTypes.has(PLANNED_AS.get(type) ?? type);
  const cutSeconds = [...step.opSeconds].reduce((sum, [type, each]) => sum + (isCut(type) ? each : 0), 0);
  return step.seconds + cutSeconds * (ratio - 1) + (countCollectives(plan) - countCollectives(own)) * step.nodeSeconds;
}

/** Of what was measured in each company, that of a machine. @throws {InternalError} when it was not measured */
export function findCompany<Measured extends { readonly company: Company }>(
  measured: readonly Measured[],
  { ranks, threadsPerRank }: Machine,
): Measured {
  const found = measured.find(
    ({ company }) => company.numRanks === ranks.length && company.threadsPerRank === threadsPerRank,
  );
  if (found === undefined) {
    throw new InternalError(`No step of ${ranks.length} ranks with ${threadsPerRank} threads each was measured.`);
  }
  return found;
}

function countCollectives({ collectives }: Plan): number {
  return collectives.filter(({ insideGraph }) => insideGraph).length;
}

/** How long one rank computes before each of the step's collectives and behind the last. */
export function predictWork(plan: Plan, measured: readonly MeasuredCompany[], placement: Placement): number {
  const { measured: found, seconds } = findSlowest(plan, measured, placement);
  return (seconds - found.step.collectiveSeconds) / (1 + countCollectives(plan));
}

/**
 * What is to be measured here for these worlds: the ranks of every machine, once for as many with as many threads.
 * @param areWeighted ranks take parts of the model that differ from those of the ranks that are measured
 */
export function companiesToMeasure(placements: readonly Placement[], areWeighted: boolean): Company[] {
  const companies = new Map<string, Company>();
  for (const { machines } of placements) {
    for (const { ranks, threadsPerRank } of machines) {
      const key = `${ranks.length} x ${threadsPerRank}`;
      const isWhole = !areWeighted && machines.length === 1 && (companies.get(key)?.isWhole ?? true);
      companies.set(key, { numRanks: ranks.length, threadsPerRank, isWhole });
    }
  }
  return [...companies.values()];
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
