/**
 * Every checkpoint of shared/models/families whose family is built here, on 1, 2, 3 (and 4) ranks: the ids of transformers for greedy
 * search, a batch, penalties; its log probabilities and logits on one rank, and those of one rank on several.
 */
import { beforeAll, describe, expect, test } from "@jest/globals";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { answerCases, expectClose, outputOf, type Answer, type Call, type Case } from "./answers.ts";

const FAMILIES = join(import.meta.dirname, "../../../shared/models/families");
const isThere = existsSync(FAMILIES);
const BUILT = /^(gemma|gemma2(-.*)?|gemma3-text|gpt2|llama.*|mistral|phi3|qwen[23]|starcoder2)$/;
const NAMES = isThere ? readdirSync(FAMILIES).filter((name) => BUILT.test(name)) : [];
/** More ranks than heads. */
const NAMES_OF_FOUR = ["llama-mha-3heads", "llama-bias", "gemma"];

/** The parts of expected.json that are compared. */
interface Expected {
  readonly prompts: readonly (readonly number[])[];
  readonly lastLogits: readonly (readonly number[])[];
  readonly tokenLogProbs: readonly (readonly number[])[];
  readonly greedy: {
    readonly maxNewTokens: number;
    readonly ids: readonly (readonly number[])[];
    readonly finish: readonly string[];
  };
  readonly batchGreedy: { readonly ids: readonly (readonly number[])[] };
  readonly repetitionPenalty: { readonly penalty: number; readonly ids: readonly (readonly number[])[] };
  readonly noRepeatNgram: { readonly size: number; readonly ids: readonly (readonly number[])[] };
}

const readExpected = (name: string): Expected =>
  JSON.parse(readFileSync(join(FAMILIES, name, "expected.json"), "utf8")) as Expected;

const NEW_TOKENS = { includePromptInResult: false, returnEndToken: true, maxLength: 32 };

function listCalls({ prompts, repetitionPenalty, noRepeatNgram }: Expected): Call[] {
  const generate = (input: unknown, options = {}): Call => ({
    method: "generateBatch",
    input,
    options: { ...NEW_TOKENS, ...options },
  });
  return [
    generate(prompts),
    generate(prompts, { repetitionPenalty: repetitionPenalty.penalty }),
    generate(prompts, { noRepeatNgramSize: noRepeatNgram.size }),
    { method: "scoreBatch", input: prompts },
    { method: "lastLogits", input: prompts },
    ...prompts.map((prompt) => generate([prompt])),
  ];
}

const idsOf = (answer: Answer | undefined): readonly (readonly number[])[] =>
  outputOf(answer, "generateBatch").map((result) => result.sequencesIds[0]!);

(isThere ? describe : describe.skip)(
  `families of ${isThere ? "shared/models" : "shared/models (not there: skipped)"}`,
  () => {
    const answers = new Map<number, ReadonlyMap<string, readonly Answer[]>>();

    const namesFor = (worldSize: number): readonly string[] => (worldSize === 4 ? NAMES_OF_FOUR : NAMES);

    beforeAll(async () => {
      for (const worldSize of [1, 2, 3, 4]) {
        const names = namesFor(worldSize);
        const cases = names.map((name): Case => ({
          model: join(FAMILIES, name),
          // Every step's hidden states are compared over the ranks as well.
          load: { verify: worldSize === 3 },
          calls: listCalls(readExpected(name)),
        }));
        const byCase = await answerCases(worldSize, cases);
        answers.set(worldSize, new Map(names.map((name, index) => [name, byCase[index]!])));
      }
    }, 240_000);

    test("the checkpoints are those that the answers were made for", () => {
      expect(NAMES).toEqual([
        "gemma",
        "gemma2",
        "gemma2-finalcap",
        "gemma2-uncapped",
        "gemma3-text",
        "gpt2",
        "llama-bias",
        "llama-gqa",
        "llama-gqa-plain",
        "llama-linear-rope",
        "llama-mha-3heads",
        "llama3-rope",
        "mistral",
        "phi3",
        "qwen2",
        "qwen3",
        "starcoder2",
      ]);
    });

    const places = [1, 2, 3, 4].flatMap((worldSize) => namesFor(worldSize).map((name) => [name, worldSize] as const));

    test.each(places)("%s on %i ranks answers like transformers", (name, worldSize) => {
      const expected = readExpected(name);
      const [greedy, penalized, ngrams, scores, lastLogits, ...single] = answers.get(worldSize)!.get(name)!;
      expect(idsOf(greedy)).toEqual(expected.batchGreedy.ids);
      expect(single.flatMap(idsOf)).toEqual(expected.greedy.ids);
      expect(idsOf(penalized)).toEqual(expected.repetitionPenalty.ids);
      expect(idsOf(ngrams)).toEqual(expected.noRepeatNgram.ids);
      expect(outputOf(greedy, "generateBatch").map((result) => result.finishReasons)).toEqual(
        expected.greedy.finish.map((finish) => [finish === "eos" ? "stop" : "length"]),
      );
      outputOf(scores, "scoreBatch").forEach(({ logProbs }, index) =>
        expectClose(logProbs, expected.tokenLogProbs[index]!),
      );
      outputOf(lastLogits, "lastLogits").forEach((logits, index) => expectClose(logits, expected.lastLogits[index]!));
    });

    test.each(places.filter(([, worldSize]) => worldSize > 1))(
      "%s on %i ranks has the logits of one rank",
      (name, worldSize) => {
        const [, , , , alone] = answers.get(1)!.get(name)!;
        const [, , , , sharded] = answers.get(worldSize)!.get(name)!;
        const expected = outputOf(alone, "lastLogits");
        outputOf(sharded, "lastLogits").forEach((logits, index) => expectClose(logits, expected[index]!));
      },
    );
  },
);
