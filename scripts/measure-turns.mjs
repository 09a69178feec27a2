// The time to the first token of each turn of a conversation, with keys and values of earlier turns used again and without.
//     npx shardrun -np 2 node scripts/measure-turns.mjs [--model DIR-or-GGUF] [--compute-type int8] [--rounds 3]
// A round is two conversations of the same questions, in turn; the table has medians. By default the file of scripts/fetch-smollm2.mjs.
import { homedir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Generator, MpiInfo } from "../dist/index.js";

const { values: options } = parseArgs({
  options: {
    model: { type: "string", default: join(homedir(), ".cache/shardrun-models/SmolLM2-135M-Instruct.Q4_1.gguf") },
    "compute-type": { type: "string", default: "default" },
    "intra-threads": { type: "string", default: "1" },
    rounds: { type: "string", default: "3" },
  },
});
const QUESTIONS = [
  "Tell me about the history of bread in Europe.",
  "And what about bread in Asia?",
  "Which of these would you bake at home, and why?",
  "Write the recipe as a list.",
];
const ANSWER_TOKENS = 64;

const generator = await Generator.load(options.model, {
  intraThreads: Number(options["intra-threads"]),
  computeType: options["compute-type"],
  tensorParallel: true,
});
const median = (numbers) => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)];

/** Per turn: the prompt's tokens, and milliseconds to the answer's first. */
async function converse(cachePrompt, number) {
  // Begins otherwise than those of other rounds, which may still be kept.
  const messages = [{ role: "system", content: `${number}: you are a helpful assistant.` }];
  const turns = [];
  for (const content of QUESTIONS) {
    messages.push({ role: "user", content });
    const prompt = generator.applyChatTemplate(messages);
    const started = performance.now();
    const ids = [];
    let firstMs;
    const tokens = generator.generateTokens(prompt, { maxLength: ANSWER_TOKENS, endToken: [], cachePrompt });
    for await (const { tokenId } of tokens) {
      firstMs ??= performance.now() - started;
      ids.push(tokenId);
    }
    messages.push({ role: "assistant", content: generator.decode(ids) });
    turns.push({ numTokens: prompt.length, firstMs });
  }
  return turns;
}

if (MpiInfo.getCurRank() === 0) {
  const rounds = { whole: [], cached: [] };
  for (let round = 0; round < Number(options.rounds); round++) {
    rounds.whole.push(await converse(false, round));
    rounds.cached.push(await converse(true, round));
  }
  console.log("| turn | tokens of the prompt | whole prompt, ms | cachePrompt, ms |");
  console.log("| ---: | -------------------: | ---------------: | --------------: |");
  for (const [turn, { numTokens }] of rounds.cached[0].entries()) {
    const [whole, cached] = [rounds.whole, rounds.cached].map((each) =>
      median(each.map((turns) => turns[turn].firstMs)),
    );
    console.log(`| ${turn + 1} | ${numTokens} | ${whole.toFixed(0)} | ${cached.toFixed(0)} |`);
  }
}
await generator.unloadModel();
