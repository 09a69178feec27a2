/** `shardrun plan`: how a model would be cut for -np ranks, without starting any; with --predict, how fast it would be. */
import { checkLoadOptions } from "../api/load.ts";
import { UsageError } from "../errors.ts";
import type { Graph } from "../model/graph.ts";
import { loadModel } from "../model/model.ts";
import { partition } from "../partition/partition.ts";
import { printPlan } from "../partition/print.ts";
import { CONFIG_OPTION, planShape, readShape } from "./config-option.ts";
import { MODEL_OPTIONS, readComputeOptions, readModelDirectory } from "./model-options.ts";
import { checkPredictOptions, predictPlans } from "./plan-predict.ts";
import { readText, VALUE, type Program, type ProgramArguments } from "./options.ts";

const PREDICT_ONLY = ["link", "one-machine", "intra-threads", "json"];

export const plan: Program = {
  name: "plan",
  describe: "Prints how a model is cut for a number of ranks: weights, collectives, bytes per rank, bytes on the wire.",
  options: {
    model: MODEL_OPTIONS.model,
    config: CONFIG_OPTION,
    "compute-type": MODEL_OPTIONS["compute-type"],
    "block-size": MODEL_OPTIONS["block-size"],
    predict: {
      type: "boolean",
      describe: "Instead, measure decode steps on ranks of this host, and tell how fast 1 to -np ranks would be",
    },
    link: {
      ...VALUE,
      describe:
        "Of --predict: rate and latency between hosts, like 1Gbit,0.2ms; no rank is started [default: measured]",
    },
    "one-machine": {
      type: "boolean",
      describe: "Of --predict with --link: the hosts share one machine's cores and memory, as containers do",
    },
    "intra-threads": MODEL_OPTIONS["intra-threads"],
    json: { type: "boolean", describe: "Of --predict: print one JSON object" },
  },
  examples: [
    ["$0 plan -np 4 --model DIR", "the partition of a checkpoint over four ranks"],
    ["$0 plan -np 4 --config llama-7b --compute-type int4", "of a shape, with matrices in 4 bits"],
    [
      "$0 plan --predict -np 4 --model DIR --link 1Gbit,0.2ms",
      "how fast hosts like this one would be, over this network",
    ],
    ["$0 plan --predict -np 4 -H hosta:2,hostb:2 --config llama-1b --link 1Gbit,0.2ms", "two ranks on each host"],
    ["$0 plan --predict -np 3 -H hosta:1,hostb:1,hostc:1 --model DIR", "over these hosts' own network"],
  ],
  runsOnRanks: (options) => options["predict"] === true && readText(options, "link") === undefined,

  check(options, { numRanks = 1 }) {
    checkPredictOptions(options, numRanks);
  },

  async checkWithModel(options) {
    await readGraph(options);
  },

  async run(options, launch) {
    if (options["predict"] === true) return predictPlans(options, launch, () => readGraph(options));
    const { numRanks = 1 } = launch;
    const stray = PREDICT_ONLY.find((name) => options[name] !== undefined);
    if (stray !== undefined) throw new UsageError(`--${stray} belongs to --predict.`);
    const graph = await readGraph(options);
    process.stdout.write(`${printPlan(partition(graph, { worldSize: numRanks }))}\n`);
    return 0;
  },
};

async function readGraph(options: ProgramArguments): Promise<Graph> {
  const compute = readComputeOptions(options);
  const shape = readShape(options);
  const directory = shape?.name ?? readModelDirectory(options);
  checkLoadOptions(directory, compute);
  return shape === undefined ? (await loadModel(directory, compute)).graph : planShape(shape, compute).graph;
}
