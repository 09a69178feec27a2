// What int8 and int4 cost in quality: perplexity against float32, and how often the likeliest token is the same, position by
// position with the same text before it ("teacher forced"). Over P ranks also against one rank: int8 must agree everywhere.
//     npx shardrun -np 2 node scripts/measure-quantization.mjs [--model DIR] [--text FILE] [--types int8,int4/32,int4/64]
// Without --text the model writes its own, sampled in float32.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { Generator, MpiInfo } from "../dist/index.js";

const { values } = parseArgs({
  options: {
    model: { type: "string", default: fileURLToPath(new URL("../models/demo-stories", import.meta.url)) },
    text: { type: "string" },
    types: { type: "string", default: "int8,int4/32,int4/64,int4/128" },
  },
});
const NUM_TEXTS = 8;
const MAX_TOKENS = 240;

/** Loads the model, uses it and lets it go. */
async function withModel(options, use) {
  const generator = await Generator.load(values.model, options);
  try {
    return await use(generator);
  } finally {
    await generator.unloadModel();
  }
}

/** Texts of token ids: the file's, in stretches, or the model's own. */
async function makeTexts(generator) {
  const length = Math.min(MAX_TOKENS, generator.maxContext);
  if (values.text !== undefined) {
    const ids = generator.encode(readFileSync(values.text, "utf8"));
    const starts = Array.from({ length: Math.ceil(ids.length / length) }, (_, index) => index * length);
    return starts.map((start) => ids.slice(start, start + length)).filter((text) => text.length > 1);
  }
  const prompt = generator.model.tokenizer.isAvailable ? generator.encode("Once upon a time") : [1];
  const options = { maxLength: length - prompt.length, samplingTemperature: 1, samplingTopk: 0, endToken: [], seed: 1 };
  const results = await generator.generateBatch(Array(NUM_TEXTS).fill(prompt), options);
  return results.map(({ sequencesIds }) => sequencesIds[0]);
}

/** Perplexity of the texts, the likeliest token of every position, and what the weights weigh. */
async function measure(texts, generator) {
  const best = [];
  let logProb = 0;
  let numTokens = 0;
  for (const text of texts) {
    const [{ logProbs }] = await generator.scoreBatch([text]);
    numTokens += logProbs.length;
    logProb += logProbs.reduce((sum, value) => sum + value, 0);
    const { shape, data } = await generator.forwardBatch([text]);
    const vocabSize = shape[2];
    for (let t = 0; t < text.length; t++) {
      const row = data.subarray(t * vocabSize, (t + 1) * vocabSize);
      best.push(row.indexOf(row.reduce((a, b) => Math.max(a, b))));
    }
  }
  const { ranks } = await generator.statistics();
  const weightBytes = ranks.map(({ weights }) => weights.mappedBytes + weights.copiedBytes);
  return { perplexity: Math.exp(-logProb / numTokens), best, weightBytes };
}

const percent = (share) => `${(100 * share).toFixed(2)} %`;
const agreement = (a, b) => percent(a.best.filter((id, index) => id === b.best[index]).length / a.best.length);

if (MpiInfo.getCurRank() === 0) {
  const texts = await withModel({ computeType: "float32" }, makeTexts);
  const worldSize = MpiInfo.getNRanks();
  const measureWith = (options) => withModel(options, (generator) => measure(texts, generator));
  const reference = await measureWith({ computeType: "float32" });
  const numTokens = texts.reduce((sum, text) => sum + text.length, 0);
  console.log(`${values.model}, ${numTokens} tokens, float32 perplexity ${reference.perplexity.toFixed(4)}\n`);
  console.log("| compute type | weights | perplexity | against float32 | same best token | as 1 rank |");
  console.log("| --- | --- | --- | --- | --- | --- |");
  for (const type of values.types.split(",")) {
    const [computeType, blockSize] = type.split("/");
    const compute = { computeType, ...(blockSize && { blockSize: Number(blockSize) }) };
    const alone = await measureWith(compute);
    const sharded = worldSize > 1 ? await measureWith({ ...compute, tensorParallel: true }) : alone;
    const change = percent(sharded.perplexity / reference.perplexity - 1);
    const mebibytes = sharded.weightBytes.map((bytes) => (bytes / 2 ** 20).toFixed(1)).join(" + ");
    const cells = [type, `${mebibytes} MiB`, sharded.perplexity.toFixed(4), change, agreement(sharded, reference)];
    console.log(`| ${[...cells, worldSize > 1 ? agreement(sharded, alone) : "-"].join(" | ")} |`);
  }
}
