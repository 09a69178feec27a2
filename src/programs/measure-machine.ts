/**
 * What ranks of this host do together: a decode step of the model, how its time divides, and what they take to exchange a message after
 * some work. They run as a world of their own, so that how they share cores and memory, take turns and wait for each other is measured.
 */
import { Generator } from "../api/generator.ts";
import type { LoadOptions } from "../api/load.ts";
import { startOnThisHost } from "../api/world.ts";
import type { Engine } from "../engine/engine.ts";
import type { RankProfile } from "../execute/profile.ts";
import type { Company, MeasuredStep } from "../partition/predict.ts";
import { measureSize } from "./bench-collectives.ts";
import { divideSteps } from "./bench-profile.ts";
import { measureDecode, medianOf, type Measurement } from "./measure-decode.ts";

/** As far as the model's context allows. */
const SIZES = { promptTokens: 128, newTokens: 48 };
/** As many runs as there is time for, and no more. */
const NUM_RUNS = 5;
const ENOUGH_MS = 4000;

export class MeasuredRanks {
  readonly company: Company;
  readonly step: MeasuredStep;
  readonly #generator: Generator;
  readonly #engine: Engine;

  private constructor(company: Company, step: MeasuredStep, generator: Generator, engine: Engine) {
    this.company = company;
    this.step = step;
    this.#generator = generator;
    this.#engine = engine;
  }

  /** Loads the model, measures its step, and keeps the ranks. */
  static async begin(directory: string, options: LoadOptions, company: Company): Promise<MeasuredRanks> {
    const loading = { ...options, intraThreads: company.threadsPerRank };
    const [generator, engine] = await start(directory, loading, company);
    const runs = await decode(generator, NUM_RUNS);
    const seconds = 1 / medianOf(runs, "decodeTokensPerSecond");
    const collectiveSeconds = company.numRanks === 1 ? 0 : seconds * medianOf(runs, "collectiveShare");
    const parts = company.isWhole ? NO_PARTS : await traceStep(directory, loading, company, seconds);
    return new MeasuredRanks(company, { seconds, collectiveSeconds, ...parts }, generator, engine);
  }

  /** How long they compute for `workSeconds` each and then add up a message of so many bytes. */
  async exchangeSeconds(bytes: number, workSeconds: number): Promise<number> {
    const { numRanks } = this.company;
    if (numRanks === 1) return workSeconds;
    const work = { nanoseconds: Math.round(workSeconds * 1e9), numRanks };
    return (await measureSize(this.#engine, bytes, work)).allReduceNanoseconds / 1e9;
  }

  close(): Promise<void> {
    return this.#generator.unloadModel();
  }
}

type StepParts = Pick<MeasuredStep, "opSeconds" | "nodeSeconds">;

/** Of a step that is taken as it is. */
const NO_PARTS: StepParts = { opSeconds: new Map(), nodeSeconds: 0 };

async function start(directory: string, loading: LoadOptions, { numRanks }: Company): Promise<[Generator, Engine]> {
  let engine: Engine | undefined;
  const open = async () => {
    const ranks = await startOnThisHost(numRanks);
    engine = ranks.engine;
    return ranks;
  };
  const generator = await Generator.loadOn(open, directory, loading);
  return [generator, engine!];
}

async function decode(generator: Generator, numRuns: number): Promise<readonly Measurement[]> {
  const sizes = {
    promptTokens: Math.max(1, Math.min(SIZES.promptTokens, Math.floor(generator.maxContext / 2))),
    newTokens: Math.max(2, Math.min(SIZES.newTokens, Math.floor(generator.maxContext / 2) - 1)),
  };
  await measureDecode(generator, sizes); // warms up
  const runs: Measurement[] = [];
  const startMs = performance.now();
  do runs.push(await measureDecode(generator, sizes));
  while (runs.length < numRuns && performance.now() - startMs < ENOUGH_MS);
  return runs;
}

/** How a step of so many seconds divides; tracing makes it slower, its parts alike. */
async function traceStep(
  directory: string,
  loading: LoadOptions,
  company: Company,
  seconds: number,
): Promise<StepParts> {
  const [generator] = await start(directory, { ...loading, profile: true }, company);
  try {
    await decode(generator, 1);
    const profiles = await generator.readProfile();
    const { rows, msPerStep } = divideSteps(profiles, "decode");
    const secondsOf = (times: readonly number[]): number => (meanOf(times) / meanOf(msPerStep)) * seconds;
    const ops = rows.filter(({ kind }) => kind === "op");
    const between = rows.find(({ kind }) => kind === "onnxruntime")!;
    return {
      opSeconds: new Map(ops.map(({ name, msPerStep: times }) => [name, secondsOf(times)])),
      nodeSeconds: secondsOf(between.msPerStep) / countNodes(profiles[0]!),
    };
  } finally {
    await generator.unloadModel();
  }
}

/** Of a decode step. */
function countNodes({ steps }: RankProfile): number {
  return steps.find(({ numTokens }) => numTokens === 1)!.nodes.length;
}

function meanOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
