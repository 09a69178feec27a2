/** Turns of a conversation that begin with keys and values of earlier ones: the same answers, with less to compute, on 1, 2 and 3 ranks. */
import { describe, expect, test } from "@jest/globals";
import { join } from "node:path";
import { runShardrun } from "../support/run-shardrun.ts";
import { TINY_LLAMA, writeTemporaryCheckpoint } from "../support/write-checkpoint.ts";

const SCRIPT = join(import.meta.dirname, "scripts/turns.mjs");

interface Turn {
  readonly promptTokens: number;
  readonly ids: readonly number[];
  readonly prefilled?: number;
}

async function converse(model: string, numRanks: number, cachePrompt: boolean): Promise<readonly Turn[]> {
  const args = ["-np", String(numRanks), "--oversubscribe", process.execPath, SCRIPT, model, String(cachePrompt)];
  const { exitCode, stdout, stderr } = await runShardrun(args);
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
  return JSON.parse(stdout) as readonly Turn[];
}

const idsOf = (turns: readonly Turn[]) => turns.map(({ ids }) => ids);
const SHAPE = { ...TINY_LLAMA, max_position_embeddings: 256 };

describe.each([
  ["full attention", SHAPE],
  [
    "a sliding window that is shorter than the conversation",
    { ...SHAPE, model_type: "mistral", architectures: ["MistralForCausalLM"], sliding_window: 24 },
  ],
])("%s", (_, config) => {
  test("earlier turns are not read again, and the answers are those of whole prompts", async () => {
    const model = writeTemporaryCheckpoint({ config });
    const whole = await converse(model, 1, false);
    for (const { promptTokens, prefilled = promptTokens } of whole) expect(prefilled).toBe(promptTokens);
    for (const numRanks of [1, 2, 3]) {
      const cached = await converse(model, numRanks, true);
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
