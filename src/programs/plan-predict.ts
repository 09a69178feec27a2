/**
 * `shardrun plan --predict`: how fast a model would be on 1, 2, ... ranks, from decode steps measured here on one rank and from
 * what a message takes. With --link that is given and no rank is started; else the ranks are, and measure what lies between them.
 */
import { availableParallelism } from "node:os";
import { Generator } from "../api/generator.ts";
import { MpiInfo } from "../api/mpi-info.ts";
import { environment, shareWorld } from "../api/world.ts";
import { native } from "../collective/native.ts";
import { ROOT_RANK } from "../environment.ts";
import { UsageError } from "../errors.ts";
import type { Model } from "../model/model.ts";
import { partition } from "../partition/partition.ts";
import {
  describePredictions,
  formatRate,
  predictStep,
  threadsToMeasure,
  type Link,
  type MeasuredStep,
  type Placement,
  type Prediction,
} from "../partition/predict.ts";
import { measureSize } from "./bench-collectives.ts";
import { divideDecodeSteps } from "./bench-profile.ts";
import { readLink } from "./link-option.ts";
import { measureDecode, medianOf, type Measurement } from "./measure-decode.ts";
import { readLoadOptions, readModelDirectory } from "./model-options.ts";
import { readText, type ProgramArguments } from "./options.ts";

/** As far as the model's context allows. */
const SIZES = { promptTokens: 128, newTokens: 48 };
const NUM_RUNS = 3;
const LARGE_MESSAGE_BYTES = 4 << 20;

/**
 * Measures, predicts and prints; on rank 0, which the others follow.
 * @param maxRanks predictions are for 1 rank to so many
 * @throws {UsageError} for options that say too little or contradict each other
 */
export async function predictPlans(
  options: ProgramArguments,
  maxRanks: number,
  readModel: () => Promise<Model>,
): Promise<number> {
  if (MpiInfo.getCurRank() !== ROOT_RANK) return 0; // follows: the engine serves rank 0
  checkPredictOptions(options, maxRanks);
  const { graph } = await readModel();
  const { link, transport } = await findLink(options);
  const shared = options["one-machine"] === true || transport === "shm";
  const { intraThreads = "auto" } = readLoadOptions(options);
  const cores = availableParallelism();
  const measured = new Map<number, MeasuredStep>();
  const predictions: Prediction[] = [];
  for (let numRanks = 1; numRanks <= maxRanks; numRanks++) {
    const coresPerRank = shared ? Math.max(1, Math.floor(cores / numRanks)) : cores;
    const placement: Placement = {
      threadsPerRank: intraThreads === "auto" ? coresPerRank : intraThreads,
      sharedCores: shared ? cores : undefined,
    };
    const numThreads = threadsToMeasure(numRanks, placement);
    const step = measured.get(numThreads) ?? (await measureStep(options, numThreads));
    measured.set(numThreads, step);
    predictions.push(predictStep(partition(graph, { worldSize: numRanks }), step, link, placement));
  }
  const sentence = describePredictions(predictions, shared ? "rank" : "host");
  if (options["json"] === true) {
    const { latencySeconds, bytesPerSecond } = link;
    console.log(JSON.stringify({ transport, latencySeconds, bytesPerSecond, predictions, sentence }));
  } else {
    console.log(`${describeLink(link, transport)}\n\n${printPredictions(predictions)}\n\n${sentence}`);
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

/** Between two hosts as --link says, or as the ranks of this world find it. */
async function findLink(options: ProgramArguments): Promise<{ readonly link: Link; readonly transport: string }> {
  const { oneShotBytes, pairBytes } = native();
  const text = readText(options, "link");
  if (text !== undefined) return { link: { ...readLink(text), oneShotBytes, pairBytes }, transport: "--link" };
  const world = shareWorld();
  const { localWorldSize, worldSize } = environment.identity;
  if (world === undefined || (localWorldSize > 1 && localWorldSize < worldSize)) {
    throw new UsageError("--predict measures between ranks of one host, or of hosts with one rank each: see -H.");
  }
  const small = await measureSize(world.engine, 4);
  const large = await measureSize(world.engine, LARGE_MESSAGE_BYTES);
  const latencySeconds = small.halfRoundTripNanoseconds / 1e9;
  return {
    transport: small.transport,
    link: {
      latencySeconds,
      bytesPerSecond: LARGE_MESSAGE_BYTES / Math.max(large.halfRoundTripNanoseconds / 1e9 - latencySeconds, 1e-9),
      oneShotBytes,
      pairBytes: small.transport === "shm" ? Infinity : pairBytes,
    },
  };
}

/** A decode step of the whole model on this rank alone: its time, and from a traced run how that divides into ops. */
async function measureStep(options: ProgramArguments, numThreads: number): Promise<MeasuredStep> {
  const loadOptions = { ...readLoadOptions(options), tensorParallel: false, intraThreads: numThreads };
  const seconds = await withGenerator(loadOptions, (_, runs) => 1 / medianOf(runs, "decodeTokensPerSecond"));
  const table = await withGenerator({ ...loadOptions, profile: true }, async (generator) =>
    divideDecodeSteps(await generator.readProfile()),
  );
  const scale = seconds / table.msPerStep[0]!;
  const ops = table.rows.filter(({ kind }) => kind === "op");
  return { seconds, numThreads, opSeconds: new Map(ops.map(({ name, msPerStep }) => [name, msPerStep[0]! * scale])) };

  async function withGenerator<Result>(
    loading: Parameters<typeof Generator.load>[1],
    use: (generator: Generator, runs: readonly Measurement[]) => Result | Promise<Result>,
  ): Promise<Result> {
    await using generator = await Generator.load(readModelDirectory(options), loading);
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

function describeLink({ latencySeconds, bytesPerSecond }: Link, transport: string): string {
  const microseconds = (latencySeconds * 1e6).toPrecision(3);
  return `${transport}: ${microseconds} us for a small message, ${(bytesPerSecond / 1e6).toPrecision(3)} MB/s for a large one`;
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
