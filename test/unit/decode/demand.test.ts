import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { logitsDemand } from "../../../src/decode/demand.ts";
import { processLogits } from "../../../src/decode/processors.ts";
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
