// Ranks against threads on the same cores: `shardrun bench` with P ranks of one thread and with one rank of P threads, in turn,
// and the ratio of their medians. The machine's speed drifts; only runs side by side compare.
//     node scripts/compare-ranks.mjs [--ranks 2] [--rounds 5] [bench options: --config llama-160m ...]
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const cli = fileURLToPath(new URL("../dist/cli.js", import.meta.url));
const { values, positionals } = parseArgs({
  options: {
    ranks: { type: "string", default: "2" },
    rounds: { type: "string", default: "5" },
    config: { type: "string", default: "llama-160m" },
  },
  allowPositionals: true,
});
const numRanks = Number(values.ranks);
const setups = [
  { name: `${numRanks} ranks x 1 thread`, args: ["-np", String(numRanks), "--intra-threads", "1"] },
  { name: `1 rank x ${numRanks} threads`, args: ["--intra-threads", String(numRanks)] },
];

function bench(setup) {
  const args = [cli, "bench", ...setup.args, "--config", values.config, "--json", "--repeat", "1", ...positionals];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`bench ended with ${status}: ${stderr}`);
  return JSON.parse(stdout);
}

function median(numbers) {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)];
}

const runs = setups.map(() => []);
for (let round = 0; round < Number(values.rounds); round++) {
  setups.forEach((setup, index) => runs[index].push(bench(setup)));
}
const medianOf = (index, key) => median(runs[index].map((run) => run[key]));

console.log(
  `| ${values.config}, median of ${values.rounds} | prefill tokens/s | decode tokens/s | onnxruntime | collectives |`,
);
console.log("|---|---|---|---|---|");
setups.forEach(({ name }, index) => {
  const [prefill, decode] = ["prefillTokensPerSecond", "decodeTokensPerSecond"].map((key) =>
    medianOf(index, key).toFixed(1),
  );
  const [compute, collective] = ["computeShare", "collectiveShare"].map(
    (key) => `${(100 * medianOf(index, key)).toFixed(1)} %`,
  );
  console.log(`| ${name} | ${prefill} | ${decode} | ${compute} | ${collective} |`);
});
const ratio = (key) => median(runs[0].map((run, round) => run[key] / runs[1][round][key])).toFixed(2);
console.log(`| ratio, pair by pair | ${ratio("prefillTokensPerSecond")} | ${ratio("decodeTokensPerSecond")} | | |`);
