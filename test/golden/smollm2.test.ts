/**
 * A real chat model from a GGUF file: SmolLM2-135M-Instruct (9 heads over 3 key/value heads, Q4_1 and Q8_0) against the answers of
 * transformers on the same weights. The file is large and not part of the repository: scripts/fetch-smollm2.mjs fetches it.
 */
import { describe, expect, test } from "@jest/globals";
import { existsSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { answerCases, expectClose, outputOf, type Answer, type Call } from "./answers.ts";

const EXPECTED = join(import.meta.dirname, "../../../shared/models/smollm2-135m-instruct/expected.json");
const FILE = join(
  process.env["XDG_CACHE_HOME"] || join(homedir(), ".cache"),
  "shardrun-models/SmolLM2-135M-Instruct.Q4_1.gguf",
);

interface Expected {
  readonly chat: readonly { readonly promptIds: number[]; readonly ids: number[]; readonly completion: string }[];
  readonly raw: readonly {
    readonly prompt: string;
    readonly promptIds: number[];
    readonly ids: number[];
    readonly completion: string;
  }[];
  readonly perplexity: readonly { readonly ids: number[]; readonly logProbs: number[] }[];
}

const absent = !existsSync(EXPECTED)
  ? " (shared/models is not there: skipped)"
  : !existsSync(FILE)
    ? " (the file is not there: skipped; node scripts/fetch-smollm2.mjs fetches it)"
    : "";

(absent === "" ? describe : describe.skip)(`SmolLM2${absent}`, () => {
  const MAX_LENGTH = 48;
  const GREEDY = { includePromptInResult: false, returnEndToken: true, maxLength: MAX_LENGTH };

  test.each([1, 2, 3])(
    "%i ranks give the answers of transformers",
    async (worldSize) => {
      const { chat, raw, perplexity } = JSON.parse(readFileSync(EXPECTED, "utf8")) as Expected;
      const answers = [...chat, ...raw];
      const [{ ids, logProbs }] = perplexity as [Expected["perplexity"][number]];
      const calls: Call[] = [
        { method: "generateBatch", input: answers.map(({ promptIds }) => promptIds), options: GREEDY },
        { method: "text", input: [raw[0]!.prompt], options: { ...GREEDY, maxLength: 4 } },
        { method: "scoreBatch", input: [ids] },
      ];
      const [[batch, text, scores]] = (await answerCases(worldSize, [
        { model: FILE, load: { maxContext: 512, cache: false }, calls },
      ])) as [Answer[]];
      const generated = outputOf(batch, "generateBatch").map(({ sequencesIds }) => sequencesIds[0]);
      expect(generated).toEqual(answers.map((answer) => answer.ids));
      const [first] = outputOf(text, "text");
      expect(first).toMatchObject({ promptIds: raw[0]!.promptIds, ids: raw[0]!.ids.slice(0, 4) });
      expect(raw[0]!.completion.startsWith(first!.text)).toBe(true);
      expectClose(outputOf(scores, "scoreBatch")[0]!.logProbs, logProbs, 1e-3);
    },
    110_000,
  );

  test.each([
    ["int8", 0.03],
    ["int4", 0.04],
  ] as const)(
    "%s: a perplexity within %d of float32's, the same bits on two ranks",
    async (computeType, most) => {
      const [{ ids, logProbs }] = (JSON.parse(readFileSync(EXPECTED, "utf8")) as Expected).perplexity as [
        Expected["perplexity"][number],
      ];
      const calls: Call[] = [
        { method: "scoreBatch", input: [ids] },
        { method: "generateBatch", input: [ids.slice(0, 20)], options: { ...GREEDY, maxLength: 8 } },
      ];
      const cases = [{ model: FILE, load: { computeType, maxContext: 512, cache: false }, calls }];
      const [alone, sharded] = await Promise.all([1, 2].map((worldSize) => answerCases(worldSize, cases)));
      const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
      const own = outputOf(alone![0]![0], "scoreBatch")[0]!.logProbs;
      expect(Math.abs(Math.exp(mean(logProbs) - mean(own)) - 1)).toBeLessThan(most);
      expect(sharded).toEqual(alone);
    },
    110_000,
  );
});
