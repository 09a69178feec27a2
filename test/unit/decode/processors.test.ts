import { describe, expect, test } from "@jest/globals";
import {
  BANNED_LOGIT,
  bannedTokens,
  countedLength,
  ngramEnds,
  penalizeRepetition,
  processLogits,
  sequenceEnds,
} from "../../../src/decode/processors.ts";
import { argmax } from "../../../src/decode/sampler.ts";
import { hasFamilies, readRecorded, tenTokenOptions } from "./support.ts";

const history = (promptIds: number[], generatedIds: number[] = []) => ({ promptIds, generatedIds });
const tenLogits = () => Float32Array.of(0, 1, -1, 2, -2, 3, -3, 4, -4, 5);

describe("repetition penalty", () => {
  test("divides positive logits and multiplies negative ones, once per token", () => {
    const logits = tenLogits();
    penalizeRepetition(logits, [3, 4, 3, 0], 2);
    expect([...logits]).toEqual([0, 1, -1, 1, -4, 3, -3, 4, -4, 5]);
  });

  test("looks at the prompt and the generated tokens", () => {
    const logits = tenLogits();
    processLogits(logits, tenTokenOptions({ repetitionPenalty: 2 }), history([9], [7]));
    expect([...logits]).toEqual([0, 1, -1, 2, -2, 3, -3, 2, -4, 2.5]);
  });

  test.each([
    [false, [7]],
    [true, [7, 8]],
  ])(
    "looks at what maxLength counts, where the model's format says so: includePromptInResult %p",
    (isIncluded, banned) => {
      const options = tenTokenOptions({ noRepeatNgramSize: 1, includePromptInResult: isIncluded });
      expect(bannedTokens({ ...options, penalizePrompt: false }, history([9, 8], [7])).sort()).toEqual(banned);
    },
  );
});

describe("no-repeat n-gram", () => {
  test.each([
    [0, [1, 1, 1], []],
    [1, [4, 5], [4, 5]],
    [1, [], []],
    [2, [7], []],
    [2, [1, 2, 1, 3, 1], [2, 3]],
    [2, [1, 1], [1]],
    [3, [1, 2, 3, 1, 2], [3]],
    [3, [1, 2, 3, 4, 1, 3], []],
    [3, [1, 2], []],
    [4, [5, 5, 5, 5], [5]],
  ])("size %p after %p bans %p", (size, tokenIds, expected) => {
    expect(ngramEnds(tokenIds, size)).toEqual(expected);
  });
});

describe("suppressed sequences", () => {
  test.each([
    [[], [[3]], [3]],
    [[1, 2], [[2, 5]], [5]],
    [
      [1, 2],
      [
        [1, 2, 6],
        [2, 2],
      ],
      [6, 2],
    ],
    [[2], [[1, 2, 6]], []],
    [[2, 1], [[2, 5]], []],
  ])("after %p, %p bans %p", (tokenIds, sequences, expected) => {
    expect(sequenceEnds(tokenIds, sequences)).toEqual(expected);
  });

  test("may begin in the prompt", () => {
    const options = tenTokenOptions({ suppressSequences: [["t8", "t9", 7]] });
    expect(bannedTokens(options, history([1, 8], [9]))).toEqual([7]);
  });
});

describe("disableUnk", () => {
  test("bans the unknown token at every step", () => {
    expect(bannedTokens(tenTokenOptions({ disableUnk: true }), history([1], [5, 5]))).toEqual([0]);
  });
});

describe("minLength", () => {
  const options = tenTokenOptions({ minLength: 3, endToken: ["t2", "t4"] });

  test("bans the end tokens until that many new tokens are there", () => {
    expect(bannedTokens(options, history([1, 5, 5, 5], [6, 6]))).toEqual([2, 4]);
    expect(bannedTokens(options, history([1, 5, 5, 5], [6, 6, 6]))).toEqual([]);
  });

  test("counts the prompt but its first token when the prompt is part of the result", () => {
    const withPrompt = tenTokenOptions({ minLength: 3, includePromptInResult: true });
    expect(countedLength(withPrompt, history([1, 5, 5], [6]))).toBe(3);
    expect(bannedTokens(withPrompt, history([1, 5, 5]))).toEqual([2]);
    expect(bannedTokens(withPrompt, history([1, 5, 5], [6]))).toEqual([]);
  });
});

test("bans come after the penalty and leave the lowest float32", () => {
  const logits = tenLogits();
  processLogits(logits, tenTokenOptions({ repetitionPenalty: 2, noRepeatNgramSize: 1 }), history([9]));
  expect(logits[9]).toBe(BANNED_LOGIT);
  expect(logits[7]).toBe(4);
});

const families = ["gpt2", "llama-gqa", "llama-mha-3heads", "bloom", "qwen3"];
(hasFamilies ? describe : describe.skip)(
  "transformers' next token, from its recorded logits (needs shared/models)",
  () => {
    test.each(families)("%s", (family) => {
      const recorded = readRecorded(family);
      const { penalty } = recorded.repetitionPenalty;
      const { size } = recorded.noRepeatNgram;
      recorded.prompts.forEach((promptIds, i) => {
        const next = (options: Parameters<typeof tenTokenOptions>[0]) => {
          const logits = Float32Array.from(recorded.lastLogits[i]!);
          processLogits(logits, tenTokenOptions(options), history([...promptIds]));
          return argmax(logits);
        };
        expect(next({})).toBe(recorded.greedy.ids[i]![0]);
        expect(next({ repetitionPenalty: penalty })).toBe(recorded.repetitionPenalty.ids[i]![0]);
        expect(next({ noRepeatNgramSize: size })).toBe(recorded.noRepeatNgram.ids[i]![0]);
      });
    });
  },
);
