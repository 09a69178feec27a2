/**
 * `shardrun bench`: how fast a model runs here, and where the time of a step goes. With --config it needs no checkpoint:
 * one with random weights of that shape is kept in the cache.
 */
import { writeFileSync } from "node:fs";
import { Generator } from "../api/generator.ts";
import { checkLoadOptions } from "../api/load.ts";
import { MpiInfo } from "../api/mpi-info.ts";
import { ROOT_RANK } from "../environment.ts";
import { UsageError } from "../errors.ts";
import { DEFAULT_BLOCK_SIZE } from "../model/compute-type.ts";
import { benchCollectives, chooseCollectiveWorlds, readMessageSizes } from "./bench-collectives.ts";
import { CONFIG_OPTION, provideModelDirectory, readShape } from "./config-option.ts";
import { divideSteps, printStepTable } from "./bench-profile.ts";
import { describeChromeTrace } from "./chrome-trace.ts";
import { measureDecode, medianOf, type Measurement } from "./measure-decode.ts";
import { MODEL_OPTIONS, readLoadOptions } from "./model-options.ts";
import { readNumber, readText, VALUE, type Program, type ProgramArguments } from "./options.ts";

export const bench: Program = {
  name: "bench",
  describe: "Measures prefill and decode speed, load time, memory, and where the time of a step goes.",
  options: {
    ...MODEL_OPTIONS,
    config: CONFIG_OPTION,
    "prompt-tokens": { ...VALUE, describe: "Tokens of the prompt [default: 128]" },
    "new-tokens": { ...VALUE, describe: "Tokens to decode [default: 64]" },
    repeat: { ...VALUE, describe: "Runs, of which the median is reported [default: 3]" },
    collectives: {
      type: "boolean",
      describe: "Measure the ranks' collectives instead: latency and rate of each transport and size",
    },
    sizes: { ...VALUE, describe: "Bytes of a message with --collectives, e.g. 1024,65536 [default: 4 to 67108864]" },
    profile: {
      type: "boolean",
      describe:
        "Also tell where the time of a prompt's pass and of a decode step goes on each rank; tracing costs some speed",
    },
    trace: { ...VALUE, describe: "Profile, and write a Chrome trace of every rank on one clock to this file" },
    json: { type: "boolean", describe: "Print one JSON object (with --collectives one per transport)" },
  },
  examples: [
    ["$0 bench -np 2 --config llama-160m --intra-threads 1", "two ranks with one thread each"],
    ["$0 bench -np 2 --trace trace.json", "where the time goes; open the file in chrome://tracing or ui.perfetto.dev"],
    ["$0 bench -np 4 -hostfile hosts --collectives", "what these hosts and their network can do"],
    ["$0 bench --config llama-1b --compute-type int4", "matrices in 4 bits"],
  ],
  runsOnRanks: true,

  check(options) {
    readSizes(options);
    readMessageSizes(options);
    readShape(options);
    checkLoadOptions(readText(options, "model") ?? "", readLoadOptions(options));
  },

  worlds: (options, launch) => (options["collectives"] === true ? chooseCollectiveWorlds(launch) : undefined),

  async run(options) {
    if (MpiInfo.getCurRank() !== ROOT_RANK) {
      return 0; // follows: the engine serves rank 0
    }
    if (options["collectives"] === true) {
      return benchCollectives(options);
    }
    const traceFile = readText(options, "trace");
    const profile = options["profile"] === true || traceFile !== undefined;
    const directory = await provideModelDirectory(options);
    const loadOptions = { ...readLoadOptions(options), profile };
    const started = performance.now();
    await using generator = await Generator.load(directory, loadOptions);
    const loadSeconds = (performance.now() - started) / 1000;
    const { numRuns, ...sizes } = readSizes(options);
    await measureDecode(generator, { promptTokens: sizes.promptTokens, newTokens: 2 }); // warm-up
    const runs: Measurement[] = [];
    for (let run = 0; run < numRuns; run++) {
      runs.push(await measureDecode(generator, sizes));
    }
    const { ranks, transfers } = await generator.statistics();
    const report = {
      model: readText(options, "config") ?? directory,
      ...sizes,
      repeat: numRuns,
      numRanks: ranks.length,
      intraThreads: loadOptions.intraThreads,
      computeType: loadOptions.computeType ?? "default",
      ...(loadOptions.computeType === "int4" && { blockSize: loadOptions.blockSize ?? DEFAULT_BLOCK_SIZE }),
      prefillTokensPerSecond: medianOf(runs, "prefillTokensPerSecond"),
      decodeTokensPerSecond: medianOf(runs, "decodeTokensPerSecond"),
      collectiveShare: medianOf(runs, "collectiveShare"),
      computeShare: medianOf(runs, "computeShare"),
      weightBytesPerRank: ranks.map(({ weights }) => weights.mappedBytes + weights.copiedBytes),
      convertedBytesPerRank: ranks.map(({ weights }) => weights.convertedBytes),
      privateBytesPerRank: ranks.map(({ privateBytes }) => privateBytes),
      loadSeconds,
    };
    const profiles = profile ? await generator.readProfile() : undefined;
    const tables = profiles && (["prefill", "decode"] as const).map((phase) => divideSteps(profiles, phase));
    if (options["json"] === true) {
      console.log(JSON.stringify({ ...report, transfers, ...(tables && { profile: tables }) }));
    } else {
      console.log([describeReport(report), ...(tables ?? []).map(printStepTable)].join("\n\n"));
    }
    if (profiles !== undefined && traceFile !== undefined) writeFileSync(traceFile, describeChromeTrace(profiles));
    return 0;
  },
};

function readSizes(options: ProgramArguments) {
  return {
    promptTokens: readCount(options, "prompt-tokens", 128),
    newTokens: readCount(options, "new-tokens", 64),
    numRuns: readCount(options, "repeat", 3),
  };
}

function readCount(options: ProgramArguments, name: string, standard: number): number {
  const count = readNumber(options, name) ?? standard;
  if (!Number.isSafeInteger(count) || count < 1) {
    throw new UsageError(`--${name} expects a whole number of at least 1, received "${readText(options, name)}".`);
  }
  return count;
}

function describeReport(report: Record<string, unknown>): string {
  const width = Math.max(...Object.keys(report).map((key) => key.length));
  const round = (value: unknown): unknown => (typeof value === "number" ? Number(value.toPrecision(4)) : value);
  return Object.entries(report)
    .map(([key, value]) => `${key.padEnd(width)}  ${[value].flat().map(round).join(" + ")}`)
    .join("\n");
}
