// A conversation in token ids, each turn with the whole of it as prompt: rank 0 prints per turn the answer and how many tokens were
// prefilled, as JSON. Arguments: the model, whether keys and values of earlier turns are used again, and the compute type.
import { Generator, MpiInfo } from "shardrun";

const [model, cachePrompt, computeType] = process.argv.slice(2);
const system = Array.from({ length: 40 }, (_, i) => 2 + ((i * 7) % 30));
const message = (turn) => Array.from({ length: 6 }, (_, i) => 2 + ((turn * 11 + i * 5) % 30));

const generator = await Generator.load(model, { intraThreads: 1, tensorParallel: true, computeType });
const isRoot = MpiInfo.getCurRank() === 0;
const turns = [];
const countPrefilled = async () => (await generator.statistics()).prefillTokens;

/** Leaves off after `maxTokens`. */
async function answer(prompt, maxTokens = Infinity) {
  const before = await countPrefilled();
  const ids = [];
  const options = { maxLength: 8, endToken: [], cachePrompt: cachePrompt === "true" };
  for await (const { tokenId } of generator.generateTokens(prompt, options)) {
    ids.push(tokenId);
    if (ids.length === maxTokens) break;
  }
  // What is left off is not counted.
  const prefilled = ids.length < maxTokens ? (await countPrefilled()) - before : undefined;
  turns.push({ promptTokens: prompt.length, ids, prefilled });
  return ids;
}

if (isRoot) {
  let prompt = [...system, ...message(0)];
  for (const turn of [1, 2, 3]) prompt = [...prompt, ...(await answer(prompt)), ...message(turn)];
  const interrupted = [...prompt, ...(await answer(prompt, 3)), ...message(4)];
  await answer(interrupted);
  await answer([...system, ...interrupted.slice(70)]); // the oldest messages are forgotten
  await answer([...system, ...message(9)]); // anew
  await answer(interrupted); // and back
  await answer(interrupted); // once more
  console.log(JSON.stringify(turns));
}
await generator.unloadModel();
