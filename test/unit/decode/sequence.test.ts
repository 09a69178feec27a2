import { describe, expect, test } from "@jest/globals";
import { BANNED_LOGIT } from "../../../src/decode/processors.ts";
import type { GenerationOptions } from "../../../src/decode/options.ts";
import { rankHypotheses, Sequence } from "../../../src/decode/sequence.ts";
import { hasFamilies, readRecordedCalls, tenTokenOptions } from "./support.ts";

const place = { stream: 0, maxContext: 100 };
const sequence = (options: GenerationOptions, promptIds = [1, 7, 8], where = place) =>
  new Sequence(tenTokenOptions(options), promptIds, where);

/** Logits whose likeliest token is `id`, ahead of the others by 1. */
const favour = (id: number) => Float32Array.from({ length: 10 }, (_, token) => (token === id ? 1 : 0));
/** log p of the favoured token. */
const FAVOURED = 1 - Math.log(Math.E + 9);

describe("ends", () => {
  test("at the end token, which is left out of the result unless asked for", () => {
    for (const returnEndToken of [false, true]) {
      const sequenceUnderWay = sequence({ returnEndToken });
      expect(sequenceUnderWay.next(favour(5))).toEqual({ tokenId: 5, logProb: undefined, finishReason: undefined });
      expect(sequenceUnderWay.next(favour(2))).toEqual({ tokenId: 2, logProb: undefined, finishReason: "stop" });
      expect(sequenceUnderWay.result()).toEqual({
        tokenIds: returnEndToken ? [5, 2] : [5],
        generatedIds: [5, 2],
        finishReason: "stop",
        score: undefined,
        logits: [],
      });
    }
  });

  test("at maxLength new tokens; an end token in the last place is still a stop", () => {
    const cut = sequence({ maxLength: 2 });
    expect([cut.next(favour(5)).finishReason, cut.next(favour(6)).finishReason]).toEqual([undefined, "length"]);
    expect(cut.result().tokenIds).toEqual([5, 6]);
    const ended = sequence({ maxLength: 1, endToken: "t9" });
    expect(ended.next(favour(9)).finishReason).toBe("stop");
  });

  test("where the context is used up; the last token needs no position", () => {
    const short = sequence({}, [1, 7, 8], { stream: 0, maxContext: 4 });
    expect([short.next(favour(5)).finishReason, short.next(favour(6)).finishReason]).toEqual([undefined, "length"]);
    const full = sequence({}, [1, 7, 8], { stream: 0, maxContext: 3 });
    expect(full.next(favour(5)).finishReason).toBe("length");
  });

  test("not before: what is there can be read under way", () => {
    const open = sequence({ returnScores: true });
    open.next(favour(5));
    expect(open.result()).toMatchObject({ tokenIds: [5], finishReason: undefined });
    expect(open.result().score).toBeCloseTo(FAVOURED, 6);
  });

  test("before it begins with maxLength 0", () => {
    const empty = sequence({ maxLength: 0, returnScores: true });
    expect(empty.finishReason).toBe("length");
    expect(empty.result()).toEqual({ tokenIds: [], generatedIds: [], finishReason: "length", score: 0, logits: [] });
  });

  test("an end token in the prompt ends nothing, and is not cut off", () => {
    const empty = sequence({ maxLength: 2, includePromptInResult: true }, [7, 8, 2]);
    expect(empty.result()).toMatchObject({ tokenIds: [7, 8, 2], finishReason: "length" });
  });
});

describe("with the prompt in the result", () => {
  test("maxLength counts the prompt but its first token; a beginning token is left out of the result", () => {
    const withBegin = sequence({ includePromptInResult: true, maxLength: 3 });
    expect(withBegin.next(favour(5)).finishReason).toBe("length");
    expect(withBegin.result().tokenIds).toEqual([7, 8, 5]);
    const without = sequence({ includePromptInResult: true, maxLength: 3 }, [7, 8, 9]);
    without.next(favour(5));
    expect(without.result().tokenIds).toEqual([7, 8, 9, 5]);
  });

  test("a prompt longer than maxLength is cut, with a score of 0", () => {
    const forced = sequence({ includePromptInResult: true, maxLength: 1, returnScores: true }, [7, 8, 9]);
    expect(forced.result()).toEqual({
      tokenIds: [7, 8],
      generatedIds: [],
      finishReason: "length",
      score: 0,
      logits: [],
    });
  });

  test("the prompt counts in the length of the score, but adds nothing to the sum", () => {
    const scored = sequence({ includePromptInResult: true, maxLength: 4, returnScores: true });
    scored.next(favour(5));
    scored.next(favour(6));
    expect(scored.result().score).toBeCloseTo((2 * FAVOURED) / 4, 6);
  });
});

describe("scores", () => {
  test.each([
    [1, (3 * FAVOURED) / 3],
    [0, 3 * FAVOURED],
    [0.6, (3 * FAVOURED) / 3 ** 0.6],
    [-1, 3 * FAVOURED * 3],
  ])("are the sum / length ** %p, the end token counting", (lengthPenalty, expected) => {
    const scored = sequence({ returnScores: true, lengthPenalty });
    for (const id of [5, 6, 2]) expect(scored.next(favour(id)).logProb).toBeCloseTo(FAVOURED, 6);
    expect(scored.result().score).toBeCloseTo(expected, 6);
  });

  test("are taken after bans, renormalised, and without temperature", () => {
    const banned = sequence({ returnScores: true, suppressSequences: [[3]], samplingTopk: 2, samplingTemperature: 9 });
    const step = banned.next(Float32Array.from({ length: 10 }, (_, id) => (id === 3 ? 50 : 0)));
    expect(step.logProb).toBeCloseTo(-Math.log(9), 6);
  });

  test("order the hypotheses, best first", () => {
    expect(rankHypotheses([{ score: -3 }, { score: -1 }, { score: -2 }])).toEqual([
      { score: -1 },
      { score: -2 },
      { score: -3 },
    ]);
  });

  test("are there for several hypotheses even when not asked for", () => {
    const several = sequence({ numHypotheses: 2, samplingTopk: 0 });
    expect(several.demand()).toBe("logits");
    expect(several.next(favour(5)).logProb).toBeLessThan(0);
  });
});

describe("logits", () => {
  test("are returned as they were when the token was chosen, copied", () => {
    const kept = sequence({ returnLogitsVocab: true, minLength: 2 });
    const row = favour(2);
    expect(kept.next(row).tokenId).toBe(0);
    row.fill(9);
    expect(kept.result().logits).toEqual([Float32Array.of(0, 0, BANNED_LOGIT, 0, 0, 0, 0, 0, 0, 0)]);
  });

  test("are not needed where the likeliest token wins: demand, accept", () => {
    const greedy = sequence({ minLength: 1 });
    expect(greedy.demand()).toBe("logits");
    greedy.next(favour(2));
    expect(greedy.demand()).toBe("argmax");
    expect(greedy.accept(4)).toEqual({ tokenId: 4, logProb: undefined, finishReason: undefined });
    expect(greedy.accept(2)).toEqual({ tokenId: 2, logProb: undefined, finishReason: "stop" });
    expect(greedy.result().generatedIds).toEqual([0, 4, 2]);
  });
});

describe("penalties follow the tokens as they come", () => {
  test("no-repeat n-gram over prompt and new tokens", () => {
    const free = sequence({ noRepeatNgramSize: 1, endToken: [] }, [5]);
    const tokens = Array.from(
      { length: 9 },
      () => free.next(Float32Array.from({ length: 10 }, (_, id) => -id)).tokenId,
    );
    expect(tokens).toEqual([0, 1, 2, 3, 4, 6, 7, 8, 9]);
  });
});

describe("sampling", () => {
  const sample = (stream: number, seed = 11) => {
    const sampled = sequence({ samplingTopk: 0, seed, endToken: [] }, [1], { stream, maxContext: 100 });
    return Array.from({ length: 20 }, () => sampled.next(new Float32Array(10)).tokenId).join();
  };

  test("repeats with the same seed and stream, and with no other", () => {
    expect(sample(0)).toBe(sample(0));
    expect(new Set([sample(0), sample(1), sample(2), sample(0, 12)]).size).toBe(4);
  });
});

(hasFamilies ? describe : describe.skip)("CTranslate2's recorded generation (needs shared/models)", () => {
  test("tokens, score and processed logits, step by step", () => {
    const call = readRecordedCalls("gpt2").find(({ options }) => options["return_logits_vocab"] === true)!;
    const [recorded] = call.output as [{ sequences_ids: number[][]; scores: number[]; logits: number[][][] }];
    const options = tenTokenOptions({ returnScores: true, maxLength: 2, returnLogitsVocab: true });
    const replayed = new Sequence({ ...options, vocabSize: 320, endTokenIds: [0] }, [84, 258, 266, 272, 265], place);
    for (const row of recorded.logits[0]!) replayed.next(Float32Array.from(row));
    const result = replayed.result();
    expect(result.tokenIds).toEqual(recorded.sequences_ids[0]);
    expect(result.score).toBeCloseTo(recorded.scores[0]!, 5);
    expect(result.logits).toEqual(recorded.logits[0]!.map((row) => Float32Array.from(row)));
  });
});
