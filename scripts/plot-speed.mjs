// Tokens per second over ranks and threads, as a picture: measures `shardrun bench` for each compute type and setup in turn, or takes
// the figures of an earlier run, and writes an SVG.
//     node scripts/plot-speed.mjs docs/speed.svg [--config llama-160m] [--rounds 3] [--setups 1x1,1x2,2x1] [--data FILE]
// A setup is RANKSxTHREADS. --data keeps the figures in FILE (JSON); where FILE exists they are drawn and nothing is measured.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const cli = fileURLToPath(new URL("../dist/cli.js", import.meta.url));
const { values, positionals } = parseArgs({
  options: {
    config: { type: "string", default: "llama-160m" },
    rounds: { type: "string", default: "3" },
    setups: { type: "string", default: "1x1,1x2,2x1" },
    data: { type: "string" },
  },
  allowPositionals: true,
});
const COMPUTE_TYPES = ["float32", "int8", "int4"];
const COLOURS = { float32: "#7a8793", int8: "#2f7fc1", int4: "#d9822b" };
const PHASES = [
  ["prefillTokensPerSecond", "prefill, 128 tokens"],
  ["decodeTokensPerSecond", "decode"],
];

const median = (numbers) => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)];

function bench(setup, computeType) {
  const [ranks, threads] = setup.split("x");
  const args = [cli, "bench", "-np", ranks, "--intra-threads", threads, "--compute-type", computeType];
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [...args, "--config", values.config, "--repeat", "1", "--json"],
    {
      encoding: "utf8",
    },
  );
  if (status !== 0) throw new Error(`bench ended with ${status}: ${stderr}`);
  return JSON.parse(stdout);
}

/** [{ setup, computeType, prefillTokensPerSecond, decodeTokensPerSecond }], medians over the rounds. */
function measure() {
  const cells = values.setups
    .split(",")
    .flatMap((setup) => COMPUTE_TYPES.map((computeType) => ({ setup, computeType })));
  const runs = cells.map(() => []);
  for (let round = 0; round < Number(values.rounds); round++) {
    cells.forEach(({ setup, computeType }, i) => runs[i].push(bench(setup, computeType)));
  }
  return cells.map((cell, i) => ({
    ...cell,
    ...Object.fromEntries(PHASES.map(([key]) => [key, median(runs[i].map((run) => run[key]))])),
  }));
}

function nameOf(setup) {
  const [ranks, threads] = setup.split("x").map(Number);
  return `${ranks} rank${ranks === 1 ? "" : "s"} x ${threads} thread${threads === 1 ? "" : "s"}`;
}

/** One panel of bars, `left` pixels from the left. */
function drawPanel(cells, key, title, left) {
  const [width, height, top] = [380, 220, 40];
  const setups = [...new Set(cells.map(({ setup }) => setup))];
  const most = Math.max(...cells.map((cell) => cell[key]));
  const groupWidth = width / setups.length;
  const barWidth = (groupWidth - 20) / COMPUTE_TYPES.length;
  const bars = cells.map((cell) => {
    const x = left + setups.indexOf(cell.setup) * groupWidth + 10 + COMPUTE_TYPES.indexOf(cell.computeType) * barWidth;
    const bar = (cell[key] / most) * height;
    const y = top + height - bar;
    return (
      `<rect x="${x.toFixed(1)}" y="${y.toFixed(1)}" width="${(barWidth - 3).toFixed(1)}" height="${bar.toFixed(1)}" fill="${COLOURS[cell.computeType]}"/>` +
      `<text x="${(x + barWidth / 2 - 1.5).toFixed(1)}" y="${(y - 4).toFixed(1)}" class="value">${cell[key].toFixed(0)}</text>`
    );
  });
  const labels = setups.map(
    (setup, i) =>
      `<text x="${left + (i + 0.5) * groupWidth}" y="${top + height + 16}" class="value">${nameOf(setup)}</text>`,
  );
  return [
    `<text x="${left + 10}" y="20" class="title">${title}, tokens/s</text>`,
    `<line x1="${left}" x2="${left + width}" y1="${top + height}" y2="${top + height}" stroke="#999"/>`,
    ...bars,
    ...labels,
  ].join("\n");
}

function draw(cells) {
  const legend = COMPUTE_TYPES.map(
    (type, i) =>
      `<rect x="${20 + i * 90}" y="292" width="12" height="12" fill="${COLOURS[type]}"/><text x="${37 + i * 90}" y="302">${type}</text>`,
  );
  const panels = PHASES.map(([key, title], i) => drawPanel(cells, key, `${values.config} ${title}`, 10 + i * 410));
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 820 312" font-family="sans-serif" font-size="11" fill="#333">
<style>.value{text-anchor:middle;font-size:10px}.title{font-size:13px;font-weight:bold}</style>
<rect width="820" height="312" fill="white"/>
${[...panels, ...legend].join("\n")}
</svg>
`;
}

const [output] = positionals;
if (output === undefined) throw new Error("Name the SVG to write: node scripts/plot-speed.mjs docs/speed.svg");
const isKept = values.data !== undefined && existsSync(values.data);
const cells = isKept ? JSON.parse(readFileSync(values.data, "utf8")) : measure();
if (values.data !== undefined && !isKept) writeFileSync(values.data, `${JSON.stringify(cells, null, 2)}\n`);
writeFileSync(output, draw(cells));
