import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { logitsDemand, mergeArgmax } from "../../../src/decode/demand.ts";
import { processLogits } from "../../../src/decode/processors.ts";
import { argmax } from "../../../src/decode/sampler.ts";
import { tenTokenOptions } from "./support.ts";

const history = { promptIds: [1, 5], generatedIds: [6, 5] };

describe("logitsDemand", () => {
  test.each([
    [{}, "argmax"],
    [{ samplingTopk: 0, samplingTemperature: 0 }, "argmax"],
    [{ samplingTopk: 3 }, "logits"],
    [{ returnScores: true }, "logits"],
    [{ returnLogitsVocab: true }, "logits"],
    [{ repetitionPenalty: 1.1 }, "logits"],
    [{ disableUnk: true }, "logits"],
    [{ minLength: 3 }, "logits"],
    [{ minLength: 2 }, "argmax"],
    [{ noRepeatNgramSize: 2 }, "logits"],
    [{ noRepeatNgramSize: 3 }, "argmax"],
    [{ suppressSequences: [[6, 5, 9]] }, "logits"],
    [{ suppressSequences: [[6, 6, 9]] }, "argmax"],
  ])("%p wants %p", (options, expected) => {
    expect(logitsDemand(tenTokenOptions(options), history)).toBe(expected);
  });

  test("where it says argmax, the logits stay as they are", () => {
    const tokens = fc.array(fc.integer({ min: 0, max: 9 }), { maxLength: 12 });
    fc.assert(
      fc.property(
        fc.record({
          minLength: fc.integer({ min: 0, max: 6 }),
          noRepeatNgramSize: fc.integer({ min: 0, max: 4 }),
          suppressSequences: fc.array(fc.array(fc.integer({ min: 0, max: 9 }), { minLength: 1, maxLength: 3 })),
          repetitionPenalty: fc.constantFrom(1, 1.3),
        }),
        tokens,
        tokens,
        (options, promptIds, generatedIds) => {
          const resolved = tenTokenOptions(options);
          const logits = Float32Array.from({ length: 10 }, (_, id) => id + 1);
          processLogits(logits, resolved, { promptIds, generatedIds });
          const isTouched = logits.some((logit, id) => logit !== id + 1);
          if (isTouched) expect(logitsDemand(resolved, { promptIds, generatedIds })).toBe("logits");
        },
      ),
    );
  });
});

describe("mergeArgmax", () => {
  test("is argmax over the whole row, however it is cut", () => {
    const row = fc.array(fc.integer({ min: -3, max: 3 }), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(row, fc.array(fc.nat(20), { maxLength: 4 }), (values, cuts) => {
        const logits = Float32Array.from(values);
        const borders = [0, ...cuts.map((cut) => Math.min(cut, values.length)).sort((a, b) => a - b), values.length];
        const candidates = borders.slice(1).map((end, rank) => {
          const part = logits.subarray(borders[rank], end);
          if (part.length === 0) return { tokenId: -1, logit: -Infinity };
          const best = argmax(part);
          return { tokenId: borders[rank]! + best, logit: part[best]! };
        });
        expect(mergeArgmax(candidates).tokenId).toBe(argmax(logits));
      }),
    );
  });

  test("does not depend on the order of the candidates", () => {
    const candidates = [
      { tokenId: 7, logit: 2 },
      { tokenId: -1, logit: 9 },
      { tokenId: 3, logit: 2 },
    ];
    expect(mergeArgmax(candidates)).toEqual({ tokenId: 3, logit: 2 });
    expect(mergeArgmax(candidates.toReversed())).toEqual({ tokenId: 3, logit: 2 });
  });
});
