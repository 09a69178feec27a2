/** --verify: ranks whose hidden states differ are found at the first step; here because their checkpoints differ. */
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import type { Communicator } from "../../../src/collective/native.ts";
import type { ExecutionError } from "../../../src/errors.ts";
import { ShardModel } from "../../../src/execute/shard-model.ts";
import type { Step } from "../../../src/execute/step.ts";
import { loadModel } from "../../../src/model/model.ts";
import { connectWorld, openRuntime } from "../../support/tiny-graph.ts";
import { TINY_LLAMA, writeTemporaryCheckpoint } from "../../support/write-checkpoint.ts";

const STEP: Step = { firstRow: 0, inputIds: [[1, 2, 3]], pastLengths: [0], positions: [2], want: "argmax" };

let communicators: Communicator[];
beforeAll(async () => {
  openRuntime();
  communicators = await connectWorld(2);
});
afterAll(async () => {
  for (const communicator of communicators) await communicator.close();
});

/** One step on two ranks, each with a checkpoint of its own seed. */
async function stepWith(seeds: readonly [number, number]): Promise<PromiseSettledResult<unknown>[]> {
  const shards = await Promise.all(
    seeds.map(async (seed, rank) => {
      const directory = writeTemporaryCheckpoint({ config: TINY_LLAMA, seed });
      const specification = {
        directory,
        maxContext: 16,
        numRows: 1,
        intraThreads: 1,
        verify: true,
        profile: false,
        cache: false,
        cacheLimitBytes: undefined,
      };
      return ShardModel.create(await loadModel(directory), specification, communicators[rank]!, undefined);
    }),
  );
  const results = await Promise.allSettled(shards.map((shard) => shard.execute(STEP)));
  for (const shard of shards) await shard.close();
  return results;
}

test("ranks that agree go on", async () => {
  const results = await stepWith([1, 1]);
  expect(results.map(({ status }) => status)).toEqual(["fulfilled", "fulfilled"]);
});

test("ranks that differ are named, on every rank", async () => {
  const results = await stepWith([1, 2]);
  const errors = results.map((result) => (result as PromiseRejectedResult).reason as ExecutionError);
  expect(errors.map(({ name, rank, message }) => ({ name, rank, message }))).toEqual(
    [0, 1].map((rank) => ({
      name: "ExecutionError",
      rank,
      message:
        `Ranks diverged: the hidden states [1, 1, ${TINY_LLAMA.hidden_size}] of this step on rank ${rank} differ from ` +
        `those of rank ${1 - rank}. Check that every host runs the same build of shardrun on the same kind of processor.`,
    })),
  );
});
