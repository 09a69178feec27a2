// Everything that the API promises, tried on rank 0; one JSON line of name -> what was seen. Ends by itself, with a model still loaded.
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Generator, MpiInfo } from "shardrun";

const model = fileURLToPath(new URL("../../../models/demo-stories", import.meta.url));
const load = (options) => Generator.load(model, { tensorParallel: true, ...options });
const LENGTH = { maxLength: 16, includePromptInResult: false, endToken: [] };
const prompts = Array.from({ length: 20 }, (_, i) =>
  Array.from({ length: 1 + ((i * 7) % 5) }, (_, t) => 1 + ((i * 31 + t * 17) % 400)),
);
const describe = ({ name, code, message }) => ({ name, code, message });
const caught = (promise) => promise.then(() => "no error", describe);

async function generate(generator, prompt, options = {}) {
  const [result] = await generator.generateBatch([prompt], { ...LENGTH, ...options });
  return result.sequencesIds[0];
}

async function collect(stream, { stopAfter = Infinity } = {}) {
  const steps = [];
  for await (const step of stream) {
    steps.push(step);
    if (steps.length === stopAfter) break;
  }
  return steps;
}

const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];

const checks = {
  async concurrentCalls(generator) {
    const serial = [];
    for (const prompt of prompts) serial.push(await generate(generator, prompt));
    const order = prompts.map((_, i) => (i * 13) % prompts.length); // every prompt once, shuffled
    const concurrent = [];
    await Promise.all(order.map(async (i) => (concurrent[i] = await generate(generator, prompts[i]))));
    const [batch] = [await generator.generateBatch(prompts, LENGTH)];
    return { serial, concurrent, batch: batch.map(({ sequencesIds }) => sequencesIds[0]) };
  },

  async moreSequencesThanRows(generator) {
    const many = Array.from({ length: 3 }, () => prompts).flat();
    const results = await generator.generateBatch(many, LENGTH);
    return { numPrompts: many.length, ids: results.map(({ sequencesIds }) => sequencesIds[0]) };
  },

  async tokens(generator) {
    const [prompt] = prompts;
    const steps = await collect(generator.generateTokens(prompt, { ...LENGTH, returnLogProb: true }));
    const stopped = await collect(generator.generateTokens(prompt, LENGTH), { stopAfter: 3 });
    const [scored] = await generator.generateBatch([prompt], { ...LENGTH, returnScores: true, lengthPenalty: 0 });
    return {
      batch: await generate(generator, prompt),
      all: steps.map(({ tokenId }) => tokenId),
      steps: steps.map(({ step }) => step),
      isLast: steps.map(({ isLast }) => isLast),
      stopped: stopped.map(({ tokenId }) => tokenId),
      sumOfLogProbs: steps.reduce((sum, { logProb }) => sum + logProb, 0),
      score: scored.scores[0],
    };
  },

  async severalStreams(generator) {
    const steps = await collect(generator.generateTokens(prompts.slice(0, 3), LENGTH));
    return [0, 1, 2].map((id) => steps.filter(({ batchId }) => batchId === id).map(({ tokenId }) => tokenId));
  },

  async abortedBefore(generator) {
    return caught(generator.generateBatch([[1]], { signal: AbortSignal.abort(new RangeError("no longer wanted")) }));
  },

  async abortedDuring(generator) {
    const controller = new AbortController();
    const started = performance.now();
    const call = caught(generator.generateBatch([[1]], { maxLength: 250, endToken: [], signal: controller.signal }));
    const stream = (async () => {
      for await (const { step } of generator.generateTokens([1], {
        maxLength: 250,
        endToken: [],
        signal: controller.signal,
      })) {
        if (step === 2) controller.abort();
      }
    })();
    const [batch, streamed] = await Promise.all([call, caught(stream)]);
    return { batch, stream: streamed, tookMs: performance.now() - started };
  },

  async abortedAfter(generator) {
    const controller = new AbortController();
    const ids = await generate(generator, prompts[0], { signal: controller.signal });
    controller.abort();
    return { ids, again: await generate(generator, prompts[0]) };
  },

  async sampling(generator) {
    const options = { ...LENGTH, numHypotheses: 3, samplingTopk: 0, returnScores: true, seed: 7 };
    const [first] = await generator.generateBatch([prompts[0]], options);
    const [second] = await generator.generateBatch([prompts[0]], options);
    const [other] = await generator.generateBatch([prompts[0]], { ...options, seed: 8 });
    return { first, second, other };
  },

  async scores(generator) {
    const ids = [1, 403, 411, 415];
    const [score] = await generator.scoreBatch([ids]);
    const { shape, data } = await generator.forwardBatch([ids, [1]], { returnLogProbs: true });
    const at = (t, id) => data[t * shape[2] + id];
    return {
      logProbs: score.logProbs,
      fromForward: ids.slice(1).map((id, t) => at(t, id)),
      shape,
      sum: data.subarray(0, shape[2]).reduce((sum, logProb) => sum + Math.exp(logProb), 0),
      restOfShorterInput: data.subarray((shape[1] + 1) * shape[2]).every((value) => value === 0),
    };
  },

  async verified() {
    const generator = await load({ verify: true });
    return generate(generator, prompts[0]);
  },

  async unloaded() {
    const generator = await load();
    const call = generate(generator, prompts[0]);
    await generator.unloadModel();
    await generator[Symbol.asyncDispose](); // as `await using` does at the end of its block
    return { underWay: await call, later: await caught(generator.generateBatch([[1]])), text: generator.decode([411]) };
  },

  async wrongCalls(generator) {
    return {
      emptyPrompt: await caught(generator.generateBatch([[]])),
      unknownOption: await caught(generator.generateBatch([[1]], { maxLenght: 3 })),
      unknownId: await caught(generator.generateBatch([[100_000]])),
      emptyBatch: await generator.generateBatch([]),
    };
  },

  async timer(generator) {
    const lateMs = [];
    let isRunning = true;
    const call = generator.generateBatch(prompts, { maxLength: 200, endToken: [] }).then(() => (isRunning = false));
    while (isRunning) {
      const started = performance.now();
      await sleep(10);
      lateMs.push(performance.now() - started - 10);
    }
    await call;
    return { numTicks: lateMs.length, medianMs: median(lateMs) };
  },

  async statistics(generator) {
    const { prefillTokens, decodeTokens, decodeNanoseconds, ranks } = await generator.statistics();
    return {
      prefillTokens,
      decodeTokens,
      decodeNanoseconds,
      ranks: ranks.map(({ rank, pid, weights }) => ({ rank, pid, weights: weights.mappedBytes + weights.copiedBytes })),
    };
  },
};

if (MpiInfo.getCurRank() === 0) {
  const generator = await load();
  const seen = {};
  for (const [name, check] of Object.entries(checks)) seen[name] = await check(generator);
  console.log(JSON.stringify(seen));
}
