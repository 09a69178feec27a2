// Times llama.cpp, as node-llama-cpp has it, on one prompt: prints {"prefill": tokens/s, "decode": tokens/s} as JSON.
//     node llama_cpp_bench.mjs NODE_LLAMA_CPP MODEL.gguf THREADS PROMPT_TOKENS NEW_TOKENS REPEATS
// NODE_LLAMA_CPP: a directory in which node-llama-cpp has been installed.
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [place, modelPath, ...numbers] = process.argv.slice(2);
const [threads, promptTokens, newTokens, repeats] = numbers.map(Number);
const entry = createRequire(join(place, "package.json")).resolve("node-llama-cpp");
const { getLlama } = await import(pathToFileURL(entry).href);
const llama = await getLlama({ gpu: false, build: "never", maxThreads: threads });
const model = await llama.loadModel({ modelPath });
const context = await model.createContext({
  contextSize: promptTokens + newTokens + 8,
  batchSize: promptTokens,
  threads,
});
const sequence = context.getSequence();
const prompt = [1, ...Array.from({ length: promptTokens - 1 }, (_, i) => 3 + (i % 1000))];

/** Seconds of the prompt with its first token, and of the tokens after it. */
async function run() {
  await sequence.clearHistory();
  const started = performance.now();
  const tokens = sequence.evaluate(prompt, { temperature: 0, yieldEogToken: true });
  await tokens.next();
  const first = performance.now();
  for (let count = 0; count < newTokens; count++) await tokens.next();
  const ended = performance.now();
  await tokens.return();
  return [(first - started) / 1000, (ended - first) / 1000];
}

await run();
const runs = [];
for (let i = 0; i < repeats; i++) runs.push(await run());
const median = (values) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)];
console.log(
  JSON.stringify({
    prefill: median(runs.map(([prefill]) => promptTokens / prefill)),
    decode: median(runs.map(([, decode]) => newTokens / decode)),
  }),
);
process.exit(0);
