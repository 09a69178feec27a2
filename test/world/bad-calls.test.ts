/** Whatever is wrong with a call of the API is an error of the right class and code, whose message names it; the model goes on after it. */
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type * as Shardrun from "../../src/index.ts";
import { runShardrun } from "../support/run-shardrun.ts";

const DEMO_STORIES = join(import.meta.dirname, "../../models/demo-stories");

let api: typeof Shardrun;
beforeAll(async () => {
  api = (await import(pathToFileURL(join(import.meta.dirname, "../../dist/index.js")).href)) as typeof Shardrun;
});

const cases: readonly [what: string, call: () => Promise<unknown>, code: string, message: string][] = [
  [
    "a load option that does not exist",
    () => api.Generator.load(DEMO_STORIES, { maxQueuedBatches: 2 } as object),
    "ERR_SHARDRUN_USAGE",
    'There is no load option "maxQueuedBatches": the options are device, tensorParallel, interThreads, computeType, blockSize, intraThreads, maxContext, verify, profile, cache, cacheLimit.',
  ],
  [
    "a device that is not there yet",
    () => api.Generator.load(DEMO_STORIES, { device: "cuda" }),
    "ERR_SHARDRUN_USAGE",
    'device is "cuda", but must be "cpu" or "auto".',
  ],
  [
    "a compute type that does not exist",
    () => api.Generator.load(DEMO_STORIES, { computeType: "int3" as "int4" }),
    "ERR_SHARDRUN_USAGE",
    'computeType is "int3", but must be "default", "float32", "int8" or "int4".',
  ],
  [
    "blocks of an odd size",
    () => api.Generator.load(DEMO_STORIES, { computeType: "int4", blockSize: 33 }),
    "ERR_SHARDRUN_USAGE",
    "blockSize is 33, but must be 32, 64, 128 or 256.",
  ],
  [
    "half a rank",
    () => api.Generator.load(DEMO_STORIES, { tensorParallel: 1.5 }),
    "ERR_SHARDRUN_USAGE",
    "tensorParallel is 1.5, but must be true, false or the number of ranks.",
  ],
  [
    "threads in words",
    () => api.Generator.load(DEMO_STORIES, { intraThreads: "two" } as object),
    "ERR_SHARDRUN_USAGE",
    'intraThreads is "two", but must be a whole number of 0 or more, or "auto".',
  ],
  [
    "a context longer than the model's",
    () => api.Generator.load(DEMO_STORIES, { maxContext: 257 }),
    "ERR_SHARDRUN_USAGE",
    "maxContext is 257, but the model of DEMO has 256 positions: give at most that.",
  ],
  [
    "a model that does not exist, before two ranks are started",
    () => api.Generator.load("/no/such/model", { tensorParallel: 2 }),
    "ERR_SHARDRUN_MODEL",
    'Model "/no/such/model" does not exist: expected a checkpoint directory or a GGUF file.',
  ],
  [
    "no path",
    () => api.Generator.load(undefined as unknown as string),
    "ERR_SHARDRUN_USAGE",
    "The model is undefined, but must be the path of its directory.",
  ],
];

test.each(cases)("%s", async (_, call, code, message) => {
  const error = await call().then(
    () => undefined,
    (reason: unknown) => reason as Shardrun.ShardrunError,
  );
  expect(error).toBeInstanceOf(api.ShardrunError);
  expect({ code: error!.code, message: error!.message.replaceAll(DEMO_STORIES, "DEMO") }).toEqual({ code, message });
});

test("as many ranks as the world has not, on every rank", async () => {
  const script = `import { Generator } from "./dist/index.js";
    await Generator.load("models/demo-stories", { tensorParallel: 3 }).catch(({ name, code, message }) => console.log(name, code, message));`;
  const { exitCode, stdout, stderr } = await runShardrun([
    "-np",
    "2",
    "--oversubscribe",
    "node",
    "--input-type=module",
    "--eval",
    script,
  ]);
  const line =
    "UsageError ERR_SHARDRUN_USAGE tensorParallel is 3, but the world has 2 ranks, and groups smaller than the world are " +
    "not there yet: give true or 2.\n";
  expect({ exitCode, stdout, stderr }).toEqual({ exitCode: 0, stdout: line + line, stderr: "" });
});

describe("a loaded model", () => {
  let generator: Shardrun.Generator;
  beforeAll(async () => {
    generator = await api.Generator.load(DEMO_STORIES, { intraThreads: 1 });
  });
  afterAll(() => generator.unloadModel());

  const generateBatch = (inputs: unknown, options?: object) => () =>
    generator.generateBatch(inputs as Shardrun.Token[][], options);

  const calls: readonly [what: string, call: () => Promise<unknown>, message: string][] = [
    [
      "an option that does not exist",
      generateBatch([[1]], { maxTokens: 5 }),
      'There is no generation option "maxTokens": the options are beamSize, numHypotheses, lengthPenalty, repetitionPenalty, ' +
        "noRepeatNgramSize, disableUnk, suppressSequences, endToken, returnEndToken, maxLength, minLength, includePromptInResult, " +
        "cachePrompt, returnScores, returnLogitsVocab, samplingTopk, samplingTopp, samplingTemperature, seed.",
    ],
    [
      "an option as Python writes it",
      generateBatch([[1]], { max_length: 5 }),
      'There is no generation option "max_length": write it maxLength.',
    ],
    [
      "NaN",
      generateBatch([[1]], { samplingTemperature: NaN }),
      "samplingTemperature is NaN, but must be a number of 0 or more (0 always takes the likeliest token).",
    ],
    [
      "a number in words",
      generateBatch([[1]], { maxLength: "5" }),
      'maxLength is "5", but must be a whole number of 0 or more.',
    ],
    [
      "beam search",
      generateBatch([[1]], { beamSize: 2 }),
      "beamSize is 2, but beam search is not there yet: leave it out, or give 1.",
    ],
    [
      "an end token outside the vocabulary",
      generateBatch([[1]], { endToken: "nowhere" }),
      'endToken names "nowhere", which is not in the vocabulary of 576 tokens.',
    ],
    [
      "an id past the vocabulary",
      generateBatch([[1], [1, 576]]),
      "Prompt 1 holds the token id 576, but the model's token ids go from 0 to 575.",
    ],
    [
      "half an id",
      generateBatch([[1.5]]),
      "Prompt 0 holds the token id 1.5, but the model's token ids go from 0 to 575.",
    ],
    [
      "an empty prompt",
      generateBatch([[]]),
      "Prompt 0 has no tokens: give at least one, for example the model's beginning token.",
    ],
    [
      "a text in place of tokens",
      generateBatch("Once upon a time"),
      'Prompts must be lists of tokens, received "Once upon a time": generator.encode(text) makes a list of a text.',
    ],
    [
      "texts in place of lists of tokens",
      generateBatch(["Once upon a time"]),
      'Prompt 0 must be a list of tokens, received "Once upon a time": generator.encode(text) makes a list of a text.',
    ],
    [
      "null in place of a token",
      generateBatch([[null]]),
      "Prompt 0 holds the token id null, but the model's token ids go from 0 to 575.",
    ],
    [
      "a token outside the vocabulary",
      generateBatch([["nowhere"]]),
      'Token "nowhere" is not in the vocabulary, and the model has no unknown token.',
    ],
    [
      "a prompt longer than the context, to be scored",
      () => generator.scoreBatch([Array<number>(257).fill(1)], { maxInputLength: 0 }),
      "Prompt 0 has 257 tokens, but the model's context holds 256: shorten the prompt.",
    ],
    [
      "an empty input, for logits",
      () => generator.forwardBatch([[]]),
      "Prompt 0 has no tokens: give at least one, for example the model's beginning token.",
    ],
    [
      "an id past the vocabulary, as a stream",
      () => generator.generateTokens([576]).next(),
      "Prompt 0 holds the token id 576, but the model's token ids go from 0 to 575.",
    ],
    [
      "a text to be scored in place of tokens",
      () => generator.scoreBatch("Once" as unknown as string[][]),
      'Prompts must be lists of tokens, received "Once": generator.encode(text) makes a list of a text.',
    ],
    [
      "a negative limit of what is scored",
      () => generator.scoreBatch([[1, 411]], { maxInputLength: -1 }),
      "maxInputLength is -1, but must be a whole number of 0 or more (0: no limit).",
    ],
  ];

  test.each(calls)("%s", async (_, call, message) => {
    await expect(call()).rejects.toMatchObject({ name: "UsageError", code: "ERR_SHARDRUN_USAGE", message });
  });

  test("goes on after all that", async () => {
    const [result] = await generator.generateBatch([generator.encode("Once upon a time")], { maxLength: 6 });
    expect(generator.decode(result!.sequencesIds[0]!)).toBe("Once upon a time, there");
  });
});
