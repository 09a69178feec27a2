/**
 * `shardrun plan --predict`: how fast a model would be on 1, 2, ... ranks, from decode steps measured here on one rank and from
 * what a message takes. With --link that is given and no rank is started; else the ranks are, and measure what lies between them.
 */
import { Generator } from "../api/generator.ts";
import { MpiInfo } from "../api/mpi-info.ts";
import { ROOT_RANK } from "../environment.ts";
import { UsageError } from "../errors.ts";
import type { LaunchOptions } from "../launch/options.ts";
import type { Graph } from "../model/graph.ts";
import { partition } from "../partition/partition.ts";
import {
  describePredictions,
  formatRate,
  predictStep,
  predictWork,
  threadsToMeasure,
  type MeasuredStep,
  type Prediction,
} from "../partition/predict.ts";
import { divideSteps } from "./bench-profile.ts";
import { provideModelDirectory } from "./config-option.ts";
import { readLink } from "./link-option.ts";
import { measureDecode, medianOf, type Measurement } from "./measure-decode.ts";
import { describeMessages, describeNetwork, NetworkProbe, type FoundNetwork } from "./measure-network.ts";
import { readLoadOptions } from "./model-options.ts";
import { readText, type ProgramArguments } from "./options.ts";
import { findStartedRanks, placeFirst, placeNamedRanks } from "./predict-placement.ts";

/** As far as the model's context allows. */
const SIZES = { promptTokens: 128, newTokens: 48 };
const NUM_RUNS = 3;
/**
 * Measures, predicts and prints; on rank 0, which the others follow.
 * @throws {UsageError} for options that say too little or contradict each other
 */
export async function predictPlans(
  options: ProgramArguments,
  launch: LaunchOptions,
  readGraph: () => Promise<Graph>,
): Promise<number> {
  if (MpiInfo.getCurRank() !== ROOT_RANK) return 0; // follows: the engine serves rank 0
  const maxRanks = launch.numRanks ?? 1;
  checkPredictOptions(options, maxRanks);
  const graph = await readGraph();
  const givenLink = readText(options, "link");
  const { hosts, weights } = givenLink === undefined ? await findStartedRanks() : placeNamedRanks(launch, maxRanks);
  const { intraThreads = "auto" } = readLoadOptions(options);
  const worlds = Array.from({ length: maxRanks }, (_, index) => ({
    plan: partition(graph, { worldSize: index + 1, rankWeights: weights?.slice(0, index + 1) }),
    placement: placeFirst({ hosts, weights }, index + 1, {
      threads: intraThreads,
      oneMachine: options["one-machine"] === true,
    }),
  }));

  const steps = new Map<number, MeasuredStep>();
  for (const numThreads of new Set(worlds.flatMap(({ placement }) => threadsToMeasure(placement)))) {
    steps.set(numThreads, await measureStep(options, numThreads));
  }
  const probe = givenLink === undefined ? await NetworkProbe.begin() : undefined;
  const predictions: Prediction[] = [];
  let network: FoundNetwork | undefined;
  for (const { plan, placement } of worlds) {
    if (plan.worldSize > 1) {
      network =
        (await probe?.measure(plan, placement, predictWork(plan, steps, placement))) ?? describeNetwork(givenLink!);
    }
    predictions.push(predictStep(plan, steps, network, placement));
  }
  const sentence = describePredictions(predictions, new Set(hosts).size === maxRanks ? "host" : "rank");
  const { transport, messages } = network!;
  if (options["json"] === true) {
    console.log(JSON.stringify({ transport, messages, predictions, sentence }));
  } else {
    console.log(`${describeMessages(network!)}\n\n${printPredictions(predictions)}\n\n${sentence}`);
  }
  return 0;
}

/** What is wrong with the options, without running anything. @throws {UsageError} */
export function checkPredictOptions(options: ProgramArguments, maxRanks: number): void {
  const link = readText(options, "link");
  if (link !== undefined) readLink(link);
  if (maxRanks < 2) {
    throw new UsageError("--predict expects -np of at least 2: it tells how fast 1 rank to so many would be.");
  }
}

/** A decode step of the whole model on this rank alone: its time, and from a traced run how that divides into ops. */
async function measureStep(options: ProgramArguments, numThreads: number): Promise<MeasuredStep> {
  const directory = await provideModelDirectory(options);
  const loadOptions = { ...readLoadOptions(options), tensorParallel: false, intraThreads: numThreads };
  const seconds = await withGenerator(loadOptions, (_, runs) => 1 / medianOf(runs, "decodeTokensPerSecond"));
  const table = await withGenerator({ ...loadOptions, profile: true }, async (generator) =>
    divideSteps(await generator.readProfile(), "decode"),
  );
  const scale = seconds / table.msPerStep[0]!;
  const ops = table.rows.filter(({ kind }) => kind === "op");
  return { seconds, opSeconds: new Map(ops.map(({ name, msPerStep }) => [name, msPerStep[0]! * scale])) };

  async function withGenerator<Result>(
    loading: Parameters<typeof Generator.load>[1],
    use: (generator: Generator, runs: readonly Measurement[]) => Result | Promise<Result>,
  ): Promise<Result> {
    await using generator = await Generator.load(directory, loading);
    const sizes = {
      promptTokens: Math.max(1, Math.min(SIZES.promptTokens, Math.floor(generator.maxContext / 2))),
      newTokens: Math.max(2, Math.min(SIZES.newTokens, Math.floor(generator.maxContext / 2) - 1)),
    };
    const runs: Measurement[] = [];
    const numRuns = loading?.profile === true ? 1 : NUM_RUNS;
    for (let run = 0; run <= numRuns; run++) runs.push(await measureDecode(generator, sizes));
    return use(generator, runs.slice(1)); // the first warms up
  }
}

function printPredictions(predictions: readonly Prediction[]): string {
  const rows = predictions.map(({ numRanks, tokensPerSecond, stepSeconds, waitingSeconds }) => [
    String(numRanks),
    formatRate(tokensPerSecond),
    (stepSeconds * 1e3).toFixed(2),
    `${((100 * waitingSeconds) / stepSeconds).toFixed(1)} %`,
  ]);
  const table = [["-np", "tokens/s", "ms per step", "waiting"], ...rows];
  return table
    .map(([numRanks, ...cells]) => numRanks!.padStart(3) + cells.map((cell) => cell.padStart(13)).join(""))
    .join("\n");
}
