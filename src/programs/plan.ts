/** `shardrun plan`: how a model would be cut for -np ranks, without starting any. */
import { loadModel } from "../model/model.ts";
import { partition } from "../partition/partition.ts";
import { printPlan } from "../partition/print.ts";
import { MODEL_OPTIONS, readModelDirectory } from "./model-options.ts";
import type { Program } from "./options.ts";

export const plan: Program = {
  name: "plan",
  describe: "Prints how a model is cut for a number of ranks: weights, collectives, bytes per rank, bytes on the wire.",
  options: { model: MODEL_OPTIONS.model },
  examples: [["$0 plan -np 4 --model DIR", "the partition of a checkpoint over four ranks"]],
  runsOnRanks: false,

  async run(options, { numRanks = 1 }) {
    const model = await loadModel(readModelDirectory(options));
    process.stdout.write(`${printPlan(partition(model.graph, { worldSize: numRanks }))}\n`);
    return 0;
  },
};
