// Answers many cases in one launch, so that a golden test for P ranks costs one start: shardrun -np P node answer-cases.mjs FILE
// FILE: [{model, load, calls: [{method, input, options}]}], see answers.ts. Prints one JSON line: per model, per call {output} or {error}.
import { readFileSync } from "node:fs";
import { Generator, MpiInfo } from "../../dist/index.js";

const METHODS = {
  generateBatch: async (generator, input, options) =>
    (await generator.generateBatch(input, options)).map((result) => ({ ...result, logits: toLists(result.logits) })),
  generateTokens: async (generator, input, options) => {
    const steps = [];
    for await (const step of generator.generateTokens(input, options)) steps.push(step);
    return steps;
  },
  scoreBatch: (generator, input, options) => generator.scoreBatch(input, options),
  forwardBatch: async (generator, input, options) => {
    const { shape, data } = await generator.forwardBatch(input, options);
    return { shape, data: Array.from(data) };
  },
  lastLogits: async (generator, input) => {
    const forwarded = await generator.forwardBatch(input);
    return input.map((ids, row) => logitsAt(forwarded, row, ids.length - 1));
  },
  logitsAtOnce: async (generator, input, options) => {
    const generated = (await generator.generateBatch(input, options)).map(({ sequencesIds }) => sequencesIds[0]);
    const forwarded = await generator.forwardBatch(input.map((ids, row) => [...ids, ...generated[row]]));
    return input.map((ids, row) => generated[row].map((_, step) => logitsAt(forwarded, row, ids.length - 1 + step)));
  },
  text: async (generator, input, options) => {
    const texts = [];
    for (const prompt of input) {
      const ids = generator.encode(prompt);
      const [result] = await generator.generateBatch([ids], { includePromptInResult: false, ...options });
      texts.push({ promptIds: ids, ids: result.sequencesIds[0], text: generator.decode(result.sequencesIds[0]) });
    }
    return texts;
  },
};

function logitsAt({ shape: [, longest, vocabSize], data }, row, position) {
  const begin = (row * longest + position) * vocabSize;
  return Array.from(data.subarray(begin, begin + vocabSize));
}

function toLists(logits) {
  return logits.map((steps) => steps.map((row) => Array.from(row)));
}

async function answer(generator, { method, input, options }) {
  try {
    return { output: await METHODS[method](generator, input, options) };
  } catch (error) {
    return { error: { name: error.name, code: error.code, message: error.message } };
  }
}

if (MpiInfo.getCurRank() === 0) {
  const answers = [];
  for (const { model, load, calls } of JSON.parse(readFileSync(process.argv[2], "utf8"))) {
    const generator = await Generator.load(model, { tensorParallel: true, intraThreads: 1, ...load });
    const answersOfModel = [];
    for (const call of calls) answersOfModel.push(await answer(generator, call));
    await generator.unloadModel();
    answers.push(answersOfModel);
  }
  process.stdout.write(`${JSON.stringify(answers)}\n`);
}
