import { describe, expect, test } from "@jest/globals";
import { isGreedy, resolveOptions } from "../../../src/decode/options.ts";
import { TEN_TOKENS } from "./support.ts";

const resolve = (options: object, seed = 0) => resolveOptions(options, TEN_TOKENS, seed);

describe("defaults", () => {
  test("are CTranslate2's, and complete", () => {
    expect(resolve({}, 17)).toEqual({
      numHypotheses: 1,
      lengthPenalty: 1,
      repetitionPenalty: 1,
      noRepeatNgramSize: 0,
      suppressSequences: [],
      endTokenIds: [2],
      returnEndToken: false,
      maxLength: 512,
      minLength: 0,
      includePromptInResult: true,
      cachePrompt: false,
      returnScores: false,
      returnLogitsVocab: false,
      samplingTopk: 1,
      samplingTopp: 1,
      samplingTemperature: 1,
      seed: 17,
      bosTokenId: 1,
      penalizePrompt: true,
      vocabSize: 10,
    });
  });

  test("stand for options that are undefined", () => {
    expect(resolve({ maxLength: undefined, seed: undefined }, 17)).toEqual(resolve({}, 17));
  });

  test("a seed that is given counts", () => {
    expect(resolve({ seed: 3 }, 17).seed).toBe(3);
  });

  test("can be sent to another thread", () => {
    const options = resolve({ suppressSequences: [["t3"]], endToken: ["t4"] });
    expect(structuredClone(options)).toEqual(options);
  });
});

describe("tokens", () => {
  test.each([
    [undefined, [2]],
    ["", [2]],
    ["t5", [5]],
    [
      ["t5", "t6"],
      [5, 6],
    ],
    [
      [5, 9],
      [5, 9],
    ],
    [[], []],
  ])("endToken %p ends at %p", (endToken, ids) => {
    expect(resolve({ endToken }).endTokenIds).toEqual(ids);
  });

  test("suppressed sequences become ids, and the unknown token joins them", () => {
    const suppressSequences = [["t3", "t4"], [7]];
    expect(resolve({ suppressSequences }).suppressSequences).toEqual([[3, 4], [7]]);
    expect(resolve({ suppressSequences, disableUnk: true }).suppressSequences).toEqual([[3, 4], [7], [0]]);
  });

  test("disableUnk means nothing to a vocabulary without an unknown token", () => {
    const vocabulary = { ...TEN_TOKENS, unkTokenId: undefined };
    expect(resolveOptions({ disableUnk: true }, vocabulary, 0).suppressSequences).toEqual([]);
  });
});

test("isGreedy", () => {
  expect(isGreedy(resolve({}))).toBe(true);
  expect(isGreedy(resolve({ samplingTopk: 0, samplingTemperature: 0 }))).toBe(true);
  expect(isGreedy(resolve({ samplingTopk: 0 }))).toBe(false);
});

const list =
  "beamSize, numHypotheses, lengthPenalty, repetitionPenalty, noRepeatNgramSize, disableUnk, suppressSequences, endToken, " +
  "returnEndToken, maxLength, minLength, includePromptInResult, cachePrompt, returnScores, returnLogitsVocab, samplingTopk, samplingTopp, " +
  "samplingTemperature, seed";

describe("refusals", () => {
  test.each([
    [{ beamSize: 0 }, "beamSize is 0, but must be a whole number of 1 or more."],
    [{ beamSize: "2" }, 'beamSize is "2", but must be a whole number of 1 or more.'],
    [{ beamSize: 2 }, "beamSize is 2, but beam search is not there yet: leave it out, or give 1."],
    [{ numHypotheses: 0 }, "numHypotheses is 0, but must be a whole number of 1 or more."],
    [
      { numHypotheses: 3 },
      "numHypotheses is 3, which is greater than beamSize 1: give 1, or sample " +
        "(samplingTopk other than 1 and samplingTemperature above 0), so that the hypotheses can differ.",
    ],
    [{ lengthPenalty: Infinity }, "lengthPenalty is Infinity, but must be a finite number."],
    [{ repetitionPenalty: 0 }, "repetitionPenalty is 0, but must be a number above 0 (1 changes nothing)."],
    [
      { noRepeatNgramSize: -1 },
      "noRepeatNgramSize is -1, but must be a whole number of 0 or more (0 allows every repetition).",
    ],
    [{ disableUnk: 1 }, "disableUnk is 1, but must be true or false."],
    [
      { suppressSequences: ["t1"] },
      "suppressSequences is [ 't1' ], but must be a list of lists of tokens, none of them empty.",
    ],
    [
      { suppressSequences: [[]] },
      "suppressSequences is [ [] ], but must be a list of lists of tokens, none of them empty.",
    ],
    [{ suppressSequences: [["QQ"]] }, 'suppressSequences names "QQ", which is not in the vocabulary of 10 tokens.'],
    [{ endToken: 13 }, "endToken is 13, but must be a token, a list of tokens or a list of token ids."],
    [{ endToken: "QQ" }, 'endToken names "QQ", which is not in the vocabulary of 10 tokens.'],
    [{ endToken: [3, 10] }, "endToken holds the token id 10, but the model's token ids go from 0 to 9."],
    [{ returnEndToken: null }, "returnEndToken is null, but must be true or false."],
    [{ maxLength: -1 }, "maxLength is -1, but must be a whole number of 0 or more."],
    [{ maxLength: 1.5 }, "maxLength is 1.5, but must be a whole number of 0 or more."],
    [{ maxLength: 10n }, "maxLength is 10n, but must be a whole number of 0 or more."],
    [{ minLength: 5, maxLength: 3 }, "minLength 5 is greater than maxLength 3: lower the one or raise the other."],
    [
      { samplingTopk: -1 },
      "samplingTopk is -1, but must be a whole number of 0 or more (1 always takes the likeliest token, 0 samples from all).",
    ],
    [
      { samplingTopk: 11 },
      "samplingTopk is 11, which is greater than the vocabulary of 10 tokens: give at most 10, or 0 to sample from all.",
    ],
    [{ samplingTopp: 0 }, "samplingTopp is 0, but must be a number above 0, at most 1."],
    [{ samplingTopp: 1.01 }, "samplingTopp is 1.01, but must be a number above 0, at most 1."],
    [
      { samplingTemperature: NaN },
      "samplingTemperature is NaN, but must be a number of 0 or more (0 always takes the likeliest token).",
    ],
    [
      { samplingTemperature: -0.5 },
      "samplingTemperature is -0.5, but must be a number of 0 or more (0 always takes the likeliest token).",
    ],
    [{ seed: -1 }, "seed is -1, but must be a whole number of 0 or more."],
    [{ max_length: 3 }, 'There is no generation option "max_length": write it maxLength.'],
    [{ samplingTopK: 3 }, 'There is no generation option "samplingTopK": write it samplingTopk.'],
    [{ toString: 3 }, `There is no generation option "toString": the options are ${list}.`],
  ])("%p", (options, message) => {
    expect(() => resolve(options)).toThrow(expect.objectContaining({ code: "ERR_SHARDRUN_USAGE", message }));
  });

  test.each([[{ maxLength: 0 }], [{ samplingTopk: 10 }], [{ minLength: 3, maxLength: 3 }], [{ lengthPenalty: -2 }]])(
    "accepts %p",
    (options) => expect(resolve(options)).toMatchObject(options),
  );
});
