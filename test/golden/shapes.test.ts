/**
 * Checkpoints of awkward shapes and layouts with random weights: 1 to 5 ranks give the logits of one rank, and its ids as long
 * as the best token leads clearly. Layouts of the same weights answer alike.
 */
import { beforeAll, describe, expect, test } from "@jest/globals";
import { join } from "node:path";
import { useTemporaryDirectory } from "../support/temporary-directory.ts";
import { TINY_GPT2, TINY_LLAMA, writeCheckpoint, type CheckpointOptions } from "../support/write-checkpoint.ts";
import { answerCases, expectClose, outputOf, type Answer, type Call } from "./answers.ts";

const directory = useTemporaryDirectory();

const CHECKPOINTS: Readonly<Record<string, CheckpointOptions>> = {
  "3 heads over 1 key/value head": { config: TINY_LLAMA },
  "a vocabulary of 3": { config: { ...TINY_LLAMA, vocab_size: 3 }, seed: 3 },
  "one layer": { config: { ...TINY_LLAMA, num_hidden_layers: 1 } },
  "only lm_head.weight": { config: { ...TINY_LLAMA, tie_word_embeddings: true }, embeddings: "head" },
  "only embed_tokens.weight": { config: { ...TINY_LLAMA, tie_word_embeddings: true }, embeddings: "table" },
  "three bfloat16 files": { config: TINY_LLAMA, dtype: "BF16", numFiles: 3 },
  "names without prefix, in float16": { config: TINY_LLAMA, dtype: "F16", prefix: false },
  "biases everywhere": { config: { ...TINY_LLAMA, attention_bias: true, mlp_bias: true } },
  'rope_scaling with the old key "type"': { config: { ...TINY_LLAMA, rope_scaling: { type: "linear", factor: 2 } } },
  "head_dim 10 apart from 24/3": { config: { ...TINY_LLAMA, head_dim: 10 } },
  "sizes that nothing divides": {
    config: {
      ...TINY_LLAMA,
      vocab_size: 41,
      hidden_size: 35,
      intermediate_size: 53,
      num_attention_heads: 6,
      num_key_value_heads: 3,
      head_dim: 14,
    },
  },
  "GPT-2": { config: TINY_GPT2 },
  "GPT-2 with n_inner and layer-wise scale": {
    config: { ...TINY_GPT2, n_inner: 37, scale_attn_by_inverse_layer_idx: true },
  },
  "GPT-2 of 5 heads of 7, in three bfloat16 files": {
    config: { ...TINY_GPT2, vocab_size: 43, n_embd: 35, n_head: 5 },
    dtype: "BF16",
    numFiles: 3,
  },
};

/** Pairs that hold the same weights. */
const SAME_WEIGHTS = [
  ["3 heads over 1 key/value head", "three bfloat16 files"],
  ["3 heads over 1 key/value head", "names without prefix, in float16"],
  ["only embed_tokens.weight", "only lm_head.weight"],
] as const;

const NAMES = Object.keys(CHECKPOINTS);
const WORLD_SIZES = [1, 2, 3, 4, 5];
/** A smaller lead of the best token may be turned round by rounding. */
const CLEAR_LEAD = 1e-3;

/** One checkpoint's answers: greedy with the logits of every step, greedy with each rank's best candidate alone, a forward pass. */
interface Answers {
  readonly ids: readonly (readonly number[])[];
  readonly candidateIds: readonly (readonly number[])[];
  /** Per prompt, per step. */
  readonly stepLogits: readonly (readonly (readonly number[])[])[];
  readonly lastLogits: readonly (readonly number[])[];
}

function listCalls({ vocab_size: vocabSize }: CheckpointOptions["config"]): Call[] {
  const prompts = [1, 6, 17].map((length) =>
    Array.from({ length }, (_, index) => (7 * index + length) % (vocabSize as number)),
  );
  const options = { includePromptInResult: false, endToken: [], maxLength: 12 };
  return [
    { method: "generateBatch", input: prompts, options: { ...options, returnLogitsVocab: true } },
    { method: "generateBatch", input: prompts, options },
    { method: "lastLogits", input: prompts },
  ];
}

function readAnswers([greedy, candidates, lastLogits]: readonly Answer[]): Answers {
  const results = outputOf(greedy, "generateBatch");
  return {
    ids: results.map(({ sequencesIds }) => sequencesIds[0]!),
    candidateIds: outputOf(candidates, "generateBatch").map(({ sequencesIds }) => sequencesIds[0]!),
    stepLogits: results.map(({ logits }) => logits[0]!.map((row) => Array.from(row))),
    lastLogits: outputOf(lastLogits, "lastLogits"),
  };
}

/** Steps until the best token no longer leads clearly; from the one after it on, two runs may part. */
function countClearSteps(stepLogits: readonly (readonly number[])[]): number {
  const isUnclear = (logits: readonly number[]): boolean => {
    const [best, second] = logits.toSorted((a, b) => b - a);
    return best! - second! < CLEAR_LEAD;
  };
  const unclear = stepLogits.findIndex(isUnclear);
  return unclear === -1 ? stepLogits.length : unclear;
}

function expectSameAnswers(actual: Answers, expected: Answers): void {
  actual.lastLogits.forEach((logits, prompt) => expectClose(logits, expected.lastLogits[prompt]!));
  expected.stepLogits.forEach((stepLogits, prompt) => {
    const numClear = countClearSteps(stepLogits);
    expect(actual.ids[prompt]!.slice(0, numClear)).toEqual(expected.ids[prompt]!.slice(0, numClear));
    expect(actual.candidateIds[prompt]!.slice(0, numClear)).toEqual(expected.ids[prompt]!.slice(0, numClear));
    stepLogits.slice(0, numClear).forEach((logits, step) => expectClose(actual.stepLogits[prompt]![step]!, logits));
  });
}

describe("written checkpoints", () => {
  const answers = new Map<string, Answers>();
  const answersOf = (name: string, worldSize: number): Answers => answers.get(`${name} x ${worldSize}`)!;

  beforeAll(async () => {
    const cases = NAMES.map((name, index) => {
      const model = join(directory, String(index));
      writeCheckpoint(model, CHECKPOINTS[name]!);
      return { model, load: { verify: true }, calls: listCalls(CHECKPOINTS[name]!.config) };
    });
    for (const worldSize of WORLD_SIZES) {
      const byCase = await answerCases(worldSize, cases);
      NAMES.forEach((name, index) => answers.set(`${name} x ${worldSize}`, readAnswers(byCase[index]!)));
    }
  }, 240_000);

  test("most steps are decided clearly, and the answers are of many tokens", () => {
    for (const name of NAMES) {
      const { stepLogits, ids } = answersOf(name, 1);
      const numClear = stepLogits.reduce((sum, logits) => sum + countClearSteps(logits), 0);
      expect([name, numClear >= 24]).toEqual([name, true]);
      expect([name, new Set(ids.flat()).size > 2]).toEqual([name, true]);
    }
  });

  test.each(NAMES.flatMap((name) => WORLD_SIZES.slice(1).map((worldSize) => [name, worldSize] as const)))(
    "%s: %i ranks answer as one",
    (name, worldSize) => expectSameAnswers(answersOf(name, worldSize), answersOf(name, 1)),
  );

  test.each(SAME_WEIGHTS)("%s and %s answer alike", (name, other) =>
    expectSameAnswers(answersOf(other, 1), answersOf(name, 1)),
  );
});
