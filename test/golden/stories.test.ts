/**
 * Two trained models: stories260K (8 heads over 4 key/value heads, intermediate size 172) on up to 8 ranks, and the bundled
 * demo-stories, whose texts and answers to questions are compared as well.
 */
import { describe, expect, test } from "@jest/globals";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { answerCases, expectClose, outputOf, type Answer, type Call } from "./answers.ts";

const ROOT = join(import.meta.dirname, "../..");
const STORIES_260K = join(ROOT, "../shared/models/stories260K");
const DEMO_STORIES = join(ROOT, "models/demo-stories");

const GREEDY = { includePromptInResult: false, returnEndToken: true };

const readJson = (...path: string[]): unknown => JSON.parse(readFileSync(join(...path), "utf8"));

const isThere = existsSync(STORIES_260K);
(isThere ? describe : describe.skip)(`stories260K${isThere ? "" : " (shared/models is not there: skipped)"}`, () => {
  const PROMPT_LENGTH = 5;
  let logitsOfOneRank: readonly number[] | undefined;

  test.each([1, 2, 3, 4, 5, 8])(
    "%i ranks write the same story, with the logits of one rank",
    async (worldSize) => {
      const { ids } = readJson(STORIES_260K, "expected-greedy-256.json") as { readonly ids: readonly number[] };
      const prompt = ids.slice(0, PROMPT_LENGTH);
      const calls: Call[] = [
        { method: "generateBatch", input: [prompt], options: { ...GREEDY, maxLength: ids.length - PROMPT_LENGTH } },
        { method: "forwardBatch", input: [ids.slice(0, 100)] },
      ];
      const [[story, logits]] = (await answerCases(worldSize, [{ model: STORIES_260K, calls }])) as [Answer[]];
      expect(outputOf(story, "generateBatch")[0]!.sequencesIds[0]).toEqual(ids.slice(PROMPT_LENGTH));
      const { shape, data } = outputOf(logits, "forwardBatch");
      expect(shape).toEqual([1, 100, 512]);
      logitsOfOneRank ??= data;
      expectClose(data, logitsOfOneRank);
    },
    60_000,
  );
});

interface ExpectedStories {
  readonly prompts: readonly {
    readonly text: string;
    readonly ids: number[];
    readonly new_ids: number[];
    readonly new_text: string;
  }[];
  readonly logits: { readonly ids: readonly number[]; readonly first_16: readonly number[] };
  readonly whole_story: {
    readonly text: string;
    readonly ids: number[];
    readonly new_ids: number[];
    readonly new_text: string;
  };
  readonly questions: readonly { readonly prompt: string; readonly model_answer: string }[];
}

describe("demo-stories", () => {
  test.each([1, 2])(
    "%i ranks tell the recorded stories and answer twenty questions",
    async (worldSize) => {
      const expected = readJson(DEMO_STORIES, "expected.json") as ExpectedStories;
      const texts = expected.prompts.map(({ text }) => text);
      const maxLength = expected.prompts[0]!.new_ids.length;
      const calls: Call[] = [
        { method: "text", input: texts, options: { ...GREEDY, maxLength } },
        { method: "text", input: [expected.whole_story.text], options: GREEDY },
        {
          method: "text",
          input: expected.questions.map(({ prompt }) => prompt),
          options: { ...GREEDY, maxLength: 24 },
        },
        { method: "lastLogits", input: [expected.logits.ids] },
      ];
      const load = { verify: true };
      const [[stories, wholeStory, answers, logits]] = (await answerCases(worldSize, [
        { model: DEMO_STORIES, load, calls },
      ])) as [Answer[]];
      const asText = ({ ids, new_ids, new_text }: ExpectedStories["prompts"][number]) => ({
        promptIds: ids,
        ids: new_ids,
        text: new_text,
      });
      expect(outputOf(stories, "text")).toEqual(expected.prompts.map(asText));
      expect(outputOf(wholeStory, "text")).toEqual([asText(expected.whole_story)]);
      const firstLines = outputOf(answers, "text").map(({ text }) => text.trim().split("\n")[0]);
      expect(firstLines).toEqual(expected.questions.map(({ model_answer }) => model_answer));
      expectClose(outputOf(logits, "lastLogits")[0]!.slice(0, 16), expected.logits.first_16);
    },
    60_000,
  );
});
