/** `shardrun plan`: how a model would be cut for -np ranks, without starting any. */
import { checkLoadOptions } from "../api/load.ts";
import { loadModel } from "../model/model.ts";
import { partition } from "../partition/partition.ts";
import { printPlan } from "../partition/print.ts";
import { MODEL_OPTIONS, readComputeOptions, readModelDirectory } from "./model-options.ts";
import type { Program } from "./options.ts";

export const plan: Program = {
  name: "plan",
  describe: "Prints how a model is cut for a number of ranks: weights, collectives, bytes per rank, bytes on the wire.",
  options: {
    model: MODEL_OPTIONS.model,
    "compute-type": MODEL_OPTIONS["compute-type"],
    "block-size": MODEL_OPTIONS["block-size"],
  },
  examples: [
    ["$0 plan -np 4 --model DIR", "the partition of a checkpoint over four ranks"],
    ["$0 plan -np 4 --model DIR --compute-type int4", "the same with matrices in 4 bits"],
  ],
  runsOnRanks: false,

  async run(options, { numRanks = 1 }) {
    const directory = readModelDirectory(options);
    const compute = readComputeOptions(options);
    checkLoadOptions(directory, compute);
    const model = await loadModel(directory, compute);
    process.stdout.write(`${printPlan(partition(model.graph, { worldSize: numRanks }))}\n`);
    return 0;
  },
};
