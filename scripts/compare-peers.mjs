// shardrun against llama.cpp and CTranslate2 on one shape, in turn, with the ratio of each pair of runs.
//     python3 -m venv peers/python && peers/python/bin/pip install ctranslate2 gguf numpy
//     npm install --prefix peers --ignore-scripts node-llama-cpp
//     node scripts/compare-peers.mjs --peers peers --config llama-1b [--threads 1,2] [--rounds 3] [--prompt-tokens 128] [--new-tokens 64]
// The peers' models are made once, with random weights of the shape, under peers/models.
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { BENCH_CONFIGS } from "../dist/programs/bench-configs.js";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const { values } = parseArgs({
  options: {
    peers: { type: "string" },
    config: { type: "string", default: "llama-1b" },
    threads: { type: "string", default: "1,2" },
    rounds: { type: "string", default: "3" },
    "prompt-tokens": { type: "string", default: "128" },
    "new-tokens": { type: "string", default: "64" },
  },
});
const config = BENCH_CONFIGS[values.config];
if (values.peers === undefined || config === undefined) {
  console.error(
    `--peers DIRECTORY (see the head of this file) and --config ${Object.keys(BENCH_CONFIGS).join("|")} are needed.`,
  );
  process.exit(1);
}
const peers = resolve(values.peers);
const python = join(peers, "python/bin/python");
const models = join(peers, "models", values.config);
const sizes = [values["prompt-tokens"], values["new-tokens"]];

function makeModels() {
  if (existsSync(join(models, "ctranslate2-int8/model.bin"))) return;
  mkdirSync(models, { recursive: true });
  writeFileSync(join(models, "config.json"), JSON.stringify(config));
  execFileSync(python, [here("peers/make_models.py"), join(models, "config.json"), models], { stdio: "inherit" });
}

const lastLine = (command, args) =>
  JSON.parse(
    execFileSync(command, args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] })
      .trim()
      .split("\n")
      .at(-1),
  );

const llamaCpp = (file) => (threads) =>
  lastLine(process.execPath, [
    here("peers/llama_cpp_bench.mjs"),
    peers,
    join(models, file),
    String(threads),
    ...sizes,
    "1",
  ]);

const ctranslate2 = (threads) =>
  lastLine(python, [
    here("peers/ctranslate2_bench.py"),
    join(models, "ctranslate2-int8"),
    String(threads),
    ...sizes,
    "1",
  ]);

const shardrun = (computeType) => (threads, ranks) => {
  const place = ["-np", String(ranks), "--intra-threads", String(threads)];
  const what = ["--config", values.config, "--compute-type", computeType, "--repeat", "1", "--json"];
  const counts = ["--prompt-tokens", sizes[0], "--new-tokens", sizes[1]];
  const report = lastLine(process.execPath, [here("../dist/cli.js"), "bench", ...place, ...what, ...counts]);
  return { prefill: report.prefillTokensPerSecond, decode: report.decodeTokensPerSecond };
};

/** What is compared with what; the peer's name, and what it runs. */
const PAIRS = [
  { computeType: "int4", peer: "llama.cpp Q4_0", run: llamaCpp("q4_0.gguf") },
  { computeType: "int8", peer: "llama.cpp Q8_0", run: llamaCpp("q8_0.gguf") },
  { computeType: "int8", peer: "CTranslate2 int8", run: ctranslate2 },
];

function median(numbers) {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)];
}

makeModels();
console.log(`${values.config}, ${sizes[0]} + ${sizes[1]} tokens, median of ${values.rounds}; ratios pair by pair\n`);
console.log("| shardrun | peer | prefill tokens/s | peer | ratio | decode tokens/s | peer | ratio |");
console.log("| --- | --- | --- | --- | --- | --- | --- | --- |");
for (const threads of values.threads.split(",").map(Number)) {
  const setups =
    threads === 1
      ? [[1, 1]]
      : [
          [1, threads],
          [threads, 1],
        ];
  for (const { computeType, peer, run } of PAIRS) {
    const ours = setups.map(() => []);
    const theirs = [];
    for (let round = 0; round < Number(values.rounds); round++) {
      setups.forEach(([ranks, each], i) => ours[i].push(shardrun(computeType)(each, ranks)));
      theirs.push(run(threads));
    }
    setups.forEach(([ranks, each], i) => {
      const cells = ["prefill", "decode"].flatMap((key) => {
        const ratio = median(ours[i].map((result, round) => result[key] / theirs[round][key]));
        return [
          median(ours[i].map((result) => result[key])).toFixed(1),
          median(theirs.map((result) => result[key])).toFixed(1),
          ratio.toFixed(2),
        ];
      });
      const name = `${computeType}, ${ranks} rank${ranks === 1 ? "" : "s"} x ${each} thread${each === 1 ? "" : "s"}`;
      console.log(`| ${name} | ${peer} | ${cells.join(" | ")} |`);
    });
  }
}
