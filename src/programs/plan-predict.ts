/**
 * `shardrun plan --predict`: how fast a model would be on 1, 2, ... ranks, from decode steps measured on ranks of this
 * host and from what a message takes. With --link that is given and no rank is started; else the ranks are, and measure what lies between them.
 */
import { MpiInfo } from "../api/mpi-info.ts";
import { ROOT_RANK } from "../environment.ts";
import { UsageError } from "../errors.ts";
import type { LaunchOptions } from "../launch/options.ts";
import type { Graph } from "../model/graph.ts";
import { partition } from "../partition/partition.ts";
import {
  companiesToMeasure,
  describePredictions,
  findCompany,
  formatRate,
  predictStep,
  predictWork,
  type Company,
  type MeasuredCompany,
  type Prediction,
} from "../partition/predict.ts";
import { provideModelDirectory } from "./config-option.ts";
import { readLink } from "./link-option.ts";
import { MeasuredRanks } from "./measure-machine.ts";
import { describeMessages, describeNetwork, NetworkProbe, type FoundNetwork } from "./measure-network.ts";
import { readLoadOptions } from "./model-options.ts";
import { readText, type ProgramArguments } from "./options.ts";
import { findStartedRanks, placeFirst, placeNamedRanks } from "./predict-placement.ts";

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
  const onOneMachine = options["one-machine"] === true;
  const places = givenLink === undefined ? await findStartedRanks() : placeNamedRanks(launch, maxRanks, onOneMachine);
  const { hosts, weights } = places;
  const { intraThreads = "auto" } = readLoadOptions(options);
  const worlds = Array.from({ length: maxRanks }, (_, index) => ({
    plan: partition(graph, { worldSize: index + 1, rankWeights: weights?.slice(0, index + 1) }),
    placement: placeFirst(places, index + 1, intraThreads),
  }));

  const directory = await provideModelDirectory(options);
  const companies = companiesToMeasure(
    worlds.map(({ placement }) => placement),
    weights !== undefined,
  ).map((company) => ({ company }));
  const probe = givenLink === undefined ? await NetworkProbe.begin() : undefined;
  const measured: MeasuredCompany[] = [];
  const predictions: Prediction[] = [];
  let network: FoundNetwork | undefined;
  let here: readonly MeasuredRanks[] = [];
  try {
    for (const { plan, placement } of worlds) {
      const needed = placement.machines.map((machine) => findCompany(companies, machine).company);
      const isKnown = (company: Company): boolean => measured.some((each) => each.company === company);
      // Only a network is measured beside them; else what they have shown once is enough.
      const wanted = new Set(probe === undefined ? needed.filter((company) => !isKnown(company)) : needed);
      here = await exchangeRanks(here, wanted, (company) =>
        MeasuredRanks.begin(directory, readLoadOptions(options), company),
      );
      for (const { company, step } of here) {
        if (isKnown(company)) continue;
        measured.push({ company, step, plan: partition(graph, { worldSize: company.numRanks }) });
      }
      if (plan.worldSize > 1) {
        const workSeconds = predictWork(plan, measured, placement);
        network = (await probe?.measure(plan, placement, workSeconds, here)) ?? describeNetwork(givenLink!);
      }
      predictions.push(predictStep(plan, measured, network, placement));
    }
  } finally {
    await Promise.all(here.map((ranks) => ranks.close()));
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

/** Ends the ranks that are no longer needed, so that few models are in memory, then starts those that are missing. */
async function exchangeRanks(
  old: readonly MeasuredRanks[],
  needed: ReadonlySet<Company>,
  begin: (company: Company) => Promise<MeasuredRanks>,
): Promise<readonly MeasuredRanks[]> {
  const kept = old.filter(({ company }) => needed.has(company));
  await Promise.all(old.filter((ranks) => !kept.includes(ranks)).map((ranks) => ranks.close()));
  const ranks = [...kept];
  for (const company of needed) if (!kept.some((each) => each.company === company)) ranks.push(await begin(company));
  return ranks;
}

/** What is wrong with the options, without running anything. @throws {UsageError} */
export function checkPredictOptions(options: ProgramArguments, maxRanks: number): void {
  const link = readText(options, "link");
  if (link !== undefined) readLink(link);
  else if (options["one-machine"] === true) {
    throw new UsageError("--one-machine expects --link: ranks that are started say which machine they are on.");
  }
  if (maxRanks < 2) {
    throw new UsageError("--predict expects -np of at least 2: it tells how fast 1 rank to so many would be.");
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
