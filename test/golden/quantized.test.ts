/**
 * Products in int8 and int4. Both are exact: every number of ranks and every batch gives the same bits, int4 where the ranks' shares
 * are whole blocks. Both stay close to float32.
 */
import { beforeAll, describe, expect, test } from "@jest/globals";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { directoryTokenizer } from "../../src/model/tokenizer-source.ts";
import { Tokenizer } from "../../src/model/tokenizer.ts";
import { useTemporaryDirectory } from "../support/temporary-directory.ts";
import { writeQuantizedGgufModel } from "../support/write-gguf-model.ts";
import { TINY_GPT2, TINY_LLAMA, writeCheckpoint, type CheckpointOptions } from "../support/write-checkpoint.ts";
import { answerCases, outputOf, type Answer, type Call, type Case } from "./answers.ts";

const SHARED = join(import.meta.dirname, "../../../shared/models");
const DEMO = join(import.meta.dirname, "../../models/demo-stories");
const directory = useTemporaryDirectory();

/** Sizes that no number of ranks divides, heads of no whole vectors, matrices stored either way. */
const WRITTEN: Readonly<Record<string, CheckpointOptions>> = {
  "sizes that nothing divides": {
    config: {
      ...TINY_LLAMA,
      vocab_size: 41,
      hidden_size: 35,
      intermediate_size: 253,
      num_attention_heads: 6,
      num_key_value_heads: 3,
      head_dim: 14,
      attention_bias: true,
      mlp_bias: true,
    },
    dtype: "BF16",
  },
  "GPT-2 of 3 heads": { config: { ...TINY_GPT2, n_inner: 275 } },
  "GPT-2 of 3 heads with exact GELU, in float16": {
    config: { ...TINY_GPT2, n_inner: 139, activation_function: "gelu" },
    dtype: "F16",
  },
  "heads of 32, features that are no whole blocks": {
    config: {
      ...TINY_LLAMA,
      hidden_size: 35,
      intermediate_size: 253,
      num_attention_heads: 6,
      num_key_value_heads: 3,
      head_dim: 32,
    },
  },
  "3 heads over 1 key/value head": { config: { ...TINY_LLAMA, intermediate_size: 139 } },
};
const FROM_ELSEWHERE = ["stories260K", "families/llama-bias", "families/gpt2"];
const NAMES = [
  ...Object.keys(WRITTEN),
  "demo-stories",
  ...FROM_ELSEWHERE.filter((name) => existsSync(join(SHARED, name))),
];
const MIXTURE = "a GGUF file of 4 and of 8 bits";
const IN_WHOLE_BLOCKS = ["heads of 32, features that are no whole blocks", MIXTURE];
const WORLD_SIZES = [1, 2, 3, 4, 5];

async function locate(name: string): Promise<string> {
  if (name === MIXTURE) return writeMixture();
  if (name === "demo-stories") return DEMO;
  const options = WRITTEN[name];
  if (options === undefined) return join(SHARED, name);
  const model = join(directory, String(NAMES.indexOf(name)));
  if (!existsSync(model)) writeCheckpoint(model, options);
  return model;
}

/** As Q4_K_M has it: v, and so q|k|v, and down have more bits in some layers. */
async function writeMixture(): Promise<string> {
  const sizes = {
    hidden_size: 64,
    intermediate_size: 160,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    head_dim: 32,
  };
  const [model, file] = [join(directory, "mixture"), join(directory, "mixture.gguf")];
  writeCheckpoint(model, { config: { ...TINY_LLAMA, ...sizes } });
  await writeQuantizedGgufModel(model, file, (name) => {
    if (/blk\.0\.(attn_v|ffn_down)/.test(name)) return "Q8_0";
    return name.startsWith("blk.") && !name.includes("norm") ? "Q4_0" : undefined;
  });
  return file;
}

const PROMPTS = [1, 6, 17].map((length) => Array.from({ length }, (_, index) => (7 * index + length) % 40));
const DECODING = { includePromptInResult: false, endToken: [], maxLength: 8, returnLogitsVocab: true };

/** A batch, its prompts one by one and in another order, and whole sequences at once. */
function listCalls(): Call[] {
  const generate = (input: unknown): Call => ({ method: "generateBatch", input, options: DECODING });
  return [
    generate(PROMPTS),
    ...PROMPTS.map((prompt) => generate([prompt])),
    generate([...PROMPTS.toReversed(), ...PROMPTS]),
    { method: "lastLogits", input: PROMPTS },
    { method: "logitsAtOnce", input: PROMPTS, options: DECODING },
  ];
}

/** Per result: ids, and the logits of every step. */
const read = (answer: Answer | undefined): unknown[] =>
  outputOf(answer, "generateBatch").map(({ sequencesIds, logits }) => ({ ids: sequencesIds[0], logits: logits[0] }));

describe.each([
  ["int8", NAMES],
  ["int4", IN_WHOLE_BLOCKS],
] as const)("%s", (computeType, names) => {
  const answers = new Map<string, readonly Answer[]>();

  beforeAll(async () => {
    const models = await Promise.all(names.map(locate));
    for (const worldSize of WORLD_SIZES) {
      const cases = models.map((model): Case => ({
        model,
        load: { computeType, verify: true, intraThreads: worldSize === 2 ? 2 : 1 },
        calls: listCalls(),
      }));
      const byCase = await answerCases(worldSize, cases);
      names.forEach((name, index) => answers.set(`${name} x ${worldSize}`, byCase[index]!));
    }
  }, 240_000);

  test.each(names.flatMap((name) => WORLD_SIZES.slice(1).map((worldSize) => [name, worldSize] as const)))(
    "%s: %i ranks give the bits of one",
    (name, worldSize) => {
      const [alone, sharded] = [1, worldSize].map((size) => answers.get(`${name} x ${size}`)!);
      expect(sharded).toEqual(alone);
    },
  );

  test.each(names)("%s: a prompt has the same bits in every batch", (name) => {
    const [batch, first, second, third, mixed] = answers.get(`${name} x 1`)!;
    const alone = [first, second, third].flatMap(read);
    expect(read(batch)).toEqual(alone);
    expect(read(mixed)).toEqual([...alone.toReversed(), ...alone]);
  });

  test.each(names)("%s: tokens have the same bits one by one and all at once", (name) => {
    const [batch, ...others] = answers.get(`${name} x 1`)!;
    const oneByOne = outputOf(batch, "generateBatch").map(({ logits }) => logits[0]);
    expect(outputOf(others.at(-1), "logitsAtOnce")).toEqual(oneByOne);
  });
});

/** Texts that stories260K has learned to continue; the demo knows them less well, which is as good for comparing. */
const TEXT =
  "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. One day, she saw a big dog with a red " +
  'ball. The dog was sad because he had no friends. Lily said, "Do you want to play with me?" The dog was happy and they played all day. ' +
  "When the sun went down, her mom called her name. She went home and told her mom about the new friend. They were very happy.";

describe("against float32", () => {
  const model = existsSync(join(SHARED, "stories260K")) ? join(SHARED, "stories260K") : DEMO;
  const types = [{ computeType: "float32" }, { computeType: "int8" }, { computeType: "int4" }] as const;
  /** Per number of ranks, per compute type: log probabilities of the text, and the likeliest token after each of its tokens. */
  const measured = new Map<
    number,
    readonly { readonly logProbs: readonly number[]; readonly best: readonly number[] }[]
  >();

  beforeAll(async () => {
    const ids = new Tokenizer(directoryTokenizer(model)).encode(TEXT);
    const calls: Call[] = [
      { method: "scoreBatch", input: [ids] },
      { method: "forwardBatch", input: [ids] },
    ];
    const cases = types.map((load): Case => ({ model, load, calls }));
    for (const worldSize of [1, 3, 5]) {
      const answers = await answerCases(worldSize, cases);
      const results = answers.map(([scores, forward]) => {
        const { shape, data } = outputOf(forward, "forwardBatch");
        const rows = ids.map((_, t) => data.slice(t * shape[2], (t + 1) * shape[2]));
        const { logProbs } = outputOf(scores, "scoreBatch")[0]!;
        return { logProbs, best: rows.map((row) => row.indexOf(Math.max(...row))) };
      });
      measured.set(worldSize, results);
    }
  }, 120_000);

  const perplexity = (logProbs: readonly number[]): number =>
    Math.exp(-logProbs.reduce((sum, value) => sum + value, 0) / logProbs.length);

  test.each([1, 3, 5])("on %i ranks int8 stays within 1 %% of its perplexity, int4 within 15 %%", (worldSize) => {
    const [float32, int8, int4] = measured.get(worldSize)!.map(({ logProbs }) => perplexity(logProbs));
    expect(Math.abs(int8! / float32! - 1)).toBeLessThan(0.01);
    expect(Math.abs(int4! / float32! - 1)).toBeLessThan(0.15);
    expect(int4).not.toBe(float32);
  });

  test.each([3, 5])("on %i ranks int4 agrees with one rank on 98 %% of the tokens, int8 on all", (worldSize) => {
    const [alone, sharded] = [1, worldSize].map((size) => measured.get(size)!);
    const agreement = (type: number): number => {
      const expected = alone![type]!.best;
      return sharded![type]!.best.filter((id, t) => id === expected[t]).length / expected.length;
    };
    expect(agreement(1)).toBe(1);
    expect(agreement(2)).toBeGreaterThanOrEqual(0.98);
  });
});
