/** Turns of a conversation that begin with keys and values of earlier ones: the same answers, with less to compute, on 1, 2 and 3 ranks. */
import { describe, expect, test } from "@jest/globals";
import { join } from "node:path";
import type { ComputeType } from "../../src/model/compute-type.ts";
import { runShardrun } from "../support/run-shardrun.ts";
import { TINY_LLAMA, writeTemporaryCheckpoint } from "../support/write-checkpoint.ts";

const SCRIPT = join(import.meta.dirname, "scripts/turns.mjs");

interface Turn {
  readonly promptTokens: number;
  readonly ids: readonly number[];
  readonly prefilled?: number;
}

async function converse(
  model: string,
  computeType: ComputeType,
  numRanks: number,
  cachePrompt: boolean,
): Promise<readonly Turn[]> {
  const script = [process.execPath, SCRIPT, model, String(cachePrompt), computeType];
  const { exitCode, stdout, stderr } = await runShardrun(["-np", String(numRanks), "--oversubscribe", ...script]);
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
  return JSON.parse(stdout) as readonly Turn[];
}

const idsOf = (turns: readonly Turn[]) => turns.map(({ ids }) => ids);
const SHAPE = { ...TINY_LLAMA, max_position_embeddings: 256 };

const WINDOWED = { ...SHAPE, model_type: "mistral", architectures: ["MistralForCausalLM"], sliding_window: 24 };

describe.each<[what: string, config: Readonly<Record<string, unknown>>, computeType: ComputeType]>([
  ["full attention", SHAPE, "float32"],
  ["a sliding window that is shorter than the conversation", WINDOWED, "float32"],
  ["int8", SHAPE, "int8"],
  ["int4", SHAPE, "int4"],
])("%s", (_, config, computeType) => {
  test("earlier turns are not read again, and the answers are those of whole prompts", async () => {
    const model = writeTemporaryCheckpoint({ config });
    let whole = await converse(model, computeType, 1, false);
    for (const { promptTokens, prefilled = promptTokens } of whole) expect(prefilled).toBe(promptTokens);
    for (const numRanks of [1, 2, 3]) {
      // In int4 more ranks may have another answer.
      if (computeType === "int4" && numRanks > 1) whole = await converse(model, computeType, numRanks, false);
      const cached = await converse(model, computeType, numRanks, true);
      expect(idsOf(cached)).toEqual(idsOf(whole));
      const prefilled = cached.map((turn) => turn.prefilled);
      // The last token of an answer is not in the cache yet, and the message has 6.
      expect(prefilled.slice(0, 3)).toEqual([46, 7, 7]);
      // The answer that was left off may have gone on a little.
      expect([6, 7]).toContain(prefilled[4]);
      // Of the two next prompts the first 40 are as before. Of the last two, all but the token whose logits are wanted.
      expect(prefilled.slice(5)).toEqual([cached[5]!.promptTokens - 40, 6, 1, 1]);
    }
  });
});
