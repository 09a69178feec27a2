/**
 * CTranslate2's recorded calls on the weights of two families, made through our Generator on two ranks with its option names in
 * camelCase: tokens, ids, scores, log probabilities and logits. What is left out is listed with its reason.
 */
import { beforeAll, describe, expect, test } from "@jest/globals";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { answerCases, expectClose, outputOf, type Answer, type Call, type Outputs } from "./answers.ts";

const FAMILIES = join(import.meta.dirname, "../../../shared/models/families");
const NAMES = ["gpt2", "llama-gqa-plain"];
const isThere = existsSync(FAMILIES);

/** max_position_embeddings, n_positions. */
const NUM_POSITIONS = 128;
/** Scores of CTranslate2 are sums of float32 in another order. */
const SCORE_TOLERANCE = 1e-3;

/** One recorded call. */
interface RecordedCase {
  readonly method: keyof typeof METHODS;
  readonly input: readonly string[] | readonly (readonly string[])[];
  readonly options: Readonly<Record<string, unknown>>;
  readonly output: unknown;
}

const METHODS = {
  generate_batch: "generateBatch",
  generate_tokens: "generateTokens",
  score_batch: "scoreBatch",
  forward_batch: "forwardBatch",
} as const satisfies Record<string, keyof Outputs>;

interface RecordedResult {
  readonly sequences: readonly (readonly string[])[];
  readonly sequences_ids: readonly (readonly number[])[];
  readonly scores: readonly number[];
  readonly logits?: readonly (readonly (readonly number[])[])[];
}

interface RecordedStep {
  readonly step: number;
  readonly batch_id: number;
  readonly token_id: number;
  readonly hypothesis_id: number;
  readonly token: string;
  readonly log_prob: number;
  readonly is_last: boolean;
}

interface RecordedScores {
  readonly tokens: readonly string[];
  readonly log_probs: readonly number[];
}

interface RecordedLogits {
  readonly shape: readonly number[];
  /** Per input, only the positions that it has. */
  readonly values: readonly (readonly (readonly number[])[])[];
}

/** Why a call is not compared; undefined when it is. */
function whyLeftOut({ method, input, options, output }: RecordedCase): string | undefined {
  const lengths = new Set(Array.isArray(input[0]) ? input.map((tokens) => tokens.length) : []);
  const leavesPromptOut = options.include_prompt_in_result === false;
  if (((options.beam_size as number | undefined) ?? 1) > 1) return "beam search is not there yet";
  if (options.return_alternatives !== undefined) return "alternatives are not there yet";
  if (options.static_prompt !== undefined) return "static prompts are not there yet";
  if (options.max_batch_size !== undefined) return "max_batch_size is not there yet: it changes no answer";
  if (method === "generate_batch" && leavesPromptOut && lengths.size > 1) {
    return "CTranslate2 gives back what lies behind the shortest prompt as if it were new";
  }
  if (leavesPromptOut && (options.repetition_penalty !== undefined || options.no_repeat_ngram_size !== undefined)) {
    return "the penalties of a checkpoint in Hugging Face layout look at the prompt too, as in transformers";
  }
  if (options.repetition_penalty !== undefined && (input[0] as readonly string[])[0] !== "<s>") {
    return "CTranslate2 does not penalize the first token of the prompt, transformers does";
  }
  if (
    method === "generate_batch" &&
    (output as readonly RecordedResult[])[0]!.sequences_ids[0]!.length > NUM_POSITIONS
  ) {
    return "CTranslate2 goes on beyond the positions of the model";
  }
  return undefined;
}

const toCamelCase = (name: string): string => name.replaceAll(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());

const toCall = ({ method, input, options }: RecordedCase): Call => ({
  method: METHODS[method],
  input,
  options: Object.fromEntries(Object.entries(options).map(([name, value]) => [toCamelCase(name), value])),
});

const readCases = (name: string): RecordedCase[] =>
  (JSON.parse(readFileSync(join(FAMILIES, name, "ct2-expected.json"), "utf8")) as { cases: RecordedCase[] }).cases;

function expectAnswer(answer: Answer, { method, output }: RecordedCase): void {
  switch (method) {
    case "generate_batch":
      return expectResults(outputOf(answer, "generateBatch"), output as readonly RecordedResult[]);
    case "generate_tokens":
      return expectSteps(outputOf(answer, "generateTokens"), output as readonly RecordedStep[]);
    case "score_batch":
      return expectScores(outputOf(answer, "scoreBatch"), output as readonly RecordedScores[]);
    case "forward_batch":
      return expectLogits(outputOf(answer, "forwardBatch"), output as RecordedLogits);
  }
}

function expectResults(results: Outputs["generateBatch"], recorded: readonly RecordedResult[]): void {
  expect(results.map(({ sequences }) => sequences)).toEqual(recorded.map(({ sequences }) => sequences));
  expect(results.map(({ sequencesIds }) => sequencesIds)).toEqual(recorded.map(({ sequences_ids: ids }) => ids));
  results.forEach(({ scores, logits }, index) => {
    const expected = recorded[index]!;
    expectClose(scores, expected.scores, SCORE_TOLERANCE);
    expect(logits).toHaveLength(expected.logits?.length ?? 0);
    logits.flat().forEach((row, step) => expectClose(Array.from(row), expected.logits!.flat()[step]!, SCORE_TOLERANCE));
  });
}

function expectSteps(steps: Outputs["generateTokens"], recorded: readonly RecordedStep[]): void {
  const withoutLogProbs = recorded.map((step) => ({
    step: step.step,
    batchId: step.batch_id,
    tokenId: step.token_id,
    hypothesisId: step.hypothesis_id,
    token: step.token,
    isLast: step.is_last,
  }));
  expect(steps.map(({ logProb: _, ...step }) => step)).toEqual(withoutLogProbs);
  expectClose(
    steps.map(({ logProb }) => logProb!),
    recorded.map((step) => step.log_prob),
    SCORE_TOLERANCE,
  );
}

function expectScores(results: Outputs["scoreBatch"], recorded: readonly RecordedScores[]): void {
  expect(results.map(({ tokens }) => tokens)).toEqual(recorded.map(({ tokens }) => tokens));
  results.forEach(({ logProbs }, index) => expectClose(logProbs, recorded[index]!.log_probs, SCORE_TOLERANCE));
}

function expectLogits({ shape, data }: Outputs["forwardBatch"], recorded: RecordedLogits): void {
  expect(shape).toEqual(recorded.shape);
  const [, longest, vocabSize] = shape;
  recorded.values.forEach((rows, index) => {
    const begin = index * longest * vocabSize;
    expectClose(data.slice(begin, begin + rows.length * vocabSize), rows.flat(), SCORE_TOLERANCE);
  });
}

(isThere ? describe : describe.skip)(`CTranslate2${isThere ? "" : " (shared/models is not there: skipped)"}`, () => {
  const cases = isThere
    ? NAMES.flatMap((name) => readCases(name).map((recorded, index) => ({ name, recorded, index })))
    : [];
  const compared = cases.filter(({ recorded }) => whyLeftOut(recorded) === undefined);
  let answers: readonly Answer[] = [];

  beforeAll(async () => {
    const byModel = await answerCases(
      2,
      NAMES.map((name) => ({
        model: join(FAMILIES, name),
        calls: compared.filter((each) => each.name === name).map(({ recorded }) => toCall(recorded)),
      })),
    );
    answers = byModel.flat();
  }, 120_000);

  test.each(compared.map(({ name, recorded, index }, place) => ({ name, recorded, index, place })))(
    "$name, case $index: $recorded.method $recorded.options",
    ({ recorded, place }) => expectAnswer(answers[place]!, recorded),
  );

  test("what is left out, and why", () => {
    const numByReason: Record<string, number> = {};
    for (const { recorded } of cases) {
      const reason = whyLeftOut(recorded) ?? "compared";
      numByReason[reason] = (numByReason[reason] ?? 0) + 1;
    }
    expect(numByReason).toEqual({
      compared: 56,
      "alternatives are not there yet": 6,
      "beam search is not there yet": 40,
      "CTranslate2 does not penalize the first token of the prompt, transformers does": 1,
      "CTranslate2 gives back what lies behind the shortest prompt as if it were new": 2,
      "CTranslate2 goes on beyond the positions of the model": 1,
      "max_batch_size is not there yet: it changes no answer": 4,
      "static prompts are not there yet": 4,
      "the penalties of a checkpoint in Hugging Face layout look at the prompt too, as in transformers": 8,
    });
  });
});
