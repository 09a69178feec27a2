import { describe, expect, test } from "@jest/globals";
import { checkPrompt } from "../../../src/decode/prompt.ts";

const limits = { vocabSize: 10, maxContext: 4 };

describe("checkPrompt", () => {
  test("accepts a prompt that fills the context", () => {
    expect(() => checkPrompt([0, 9, 9, 9], 0, limits)).not.toThrow();
  });

  test.each([
    [[], "Prompt 3 has no tokens: give at least one, for example the model's beginning token."],
    [[1, 1, 1, 1, 1], "Prompt 3 has 5 tokens, but the model's context holds 4: shorten the prompt."],
    [[1, 10], "Prompt 3 holds the token id 10, but the model's token ids go from 0 to 9."],
    [[-1], "Prompt 3 holds the token id -1, but the model's token ids go from 0 to 9."],
    [[1.5], "Prompt 3 holds the token id 1.5, but the model's token ids go from 0 to 9."],
    [[NaN], "Prompt 3 holds the token id NaN, but the model's token ids go from 0 to 9."],
  ])("refuses %p", (promptIds, message) => {
    expect(() => checkPrompt(promptIds, 3, limits)).toThrow(
      expect.objectContaining({ code: "ERR_SHARDRUN_USAGE", message }),
    );
  });
});
