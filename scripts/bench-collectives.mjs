// Measures allReduce over shared memory and TCP between the ranks of this host, beside MPI_Allreduce over the same when mpicc is there.
// Usage: node scripts/bench-collectives.mjs [worldSize = 2] [rounds = 5]
//
// All are loops in C or C++ around the call alone (scripts/bench_allreduce.cc, scripts/mpi_allreduce.c): float32 sums in place, each
// size in one loop that begins at a barrier. The rounds of all take turns, so that a busy moment hits all of them; the table has
// the median round, and the fastest in brackets. A ratio is that of the medians: below 1, shardrun is faster.
import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync } from "node:fs";
import { availableParallelism, cpus, loadavg } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../", import.meta.url));
const build = join(root, "native/build/bench");
const worldSize = process.argv[2] ?? "2";
const numRounds = Number(process.argv[3] ?? 5);
const sizes = [4, 1024, 8192, 16384, 65536, 262144, 1 << 20, 8 << 20, 64 << 20].map(String);

/** Standard output of a command that must succeed. */
function run(command, commandArguments) {
  const result = spawnSync(command, commandArguments, { cwd: root, encoding: "utf8" });
  if (result.error !== undefined) throw result.error;
  if (result.status !== 0)
    throw new Error(`${command} ended with ${result.status ?? result.signal}:\n${result.stderr}`);
  return result.stdout;
}

function buildOwn() {
  const sources = ["native/common", "native/transport", "native/collectives"].flatMap((directory) =>
    readdirSync(join(root, directory))
      .filter((name) => name.endsWith(".cc"))
      .map((name) => join(root, directory, name)),
  );
  const program = join(build, "bench_allreduce");
  const flags = ["-std=c++20", "-O3", "-pthread"];
  run(process.env.CXX ?? "g++", [...flags, "scripts/bench_allreduce.cc", ...sources, "-o", program]);
  return program;
}

/** The MPI program, or undefined without mpicc. */
function buildMpi() {
  const program = join(build, "mpi_allreduce");
  try {
    run("mpicc", ["-O3", "scripts/mpi_allreduce.c", "-o", program]);
    return program;
  } catch (error) {
    if (error.code === "ENOENT") return undefined;
    throw error;
  }
}

/** Adds one round of a contender to its times: size -> microseconds of each round. */
function addRound(contender) {
  for (const line of run(contender.command, contender.arguments).trim().split("\n")) {
    const [size, microseconds] = line.split(" ");
    contender.times.set(size, [...(contender.times.get(size) ?? []), Number(microseconds)]);
  }
}

function median(values) {
  return values.toSorted((a, b) => a - b)[Math.floor((values.length - 1) / 2)];
}

const round = (value) => (value < 100 ? value.toPrecision(3) : value.toFixed(0));

function sizeName(bytes) {
  const units = ["B", "KiB", "MiB"];
  const exponent = Math.min(2, Math.floor(Math.log2(bytes) / 10));
  return `${bytes / 1024 ** exponent} ${units[exponent]}`;
}

function printTable(contenders) {
  const find = (wanted) => contenders.find(({ name }) => name === wanted);
  const pairs = ["shm", "tcp"].map((name) => [find(name), find(`mpi ${name}`)]).filter(([, mpi]) => mpi !== undefined);
  const print = (cells) => console.log(`| ${cells.join(" | ")} |`);
  print([
    "bytes",
    ...contenders.map(({ name }) => `${name} µs`),
    ...pairs.map(([own, mpi]) => `${own.name} / ${mpi.name}`),
  ]);
  print(["---:", ...contenders.map(() => "---:"), ...pairs.map(() => "---:")]);
  for (const size of sizes) {
    const cells = contenders.map(
      ({ times }) => `${round(median(times.get(size)))} (${round(Math.min(...times.get(size)))})`,
    );
    const values = pairs.map(([own, mpi]) => (median(own.times.get(size)) / median(mpi.times.get(size))).toFixed(2));
    print([sizeName(Number(size)), ...cells, ...values]);
  }
}

mkdirSync(build, { recursive: true });
const ownProgram = buildOwn();
const mpiProgram = buildMpi();
const contenders = ["shm", "tcp"].map((name) => ({
  name,
  command: ownProgram,
  arguments: [name, worldSize, ...sizes],
  times: new Map(),
}));
if (mpiProgram !== undefined) {
  const launch = ["--allow-run-as-root", "--oversubscribe", "-np", worldSize];
  const tcpOnly = ["--mca", "pml", "ob1", "--mca", "btl", "tcp,self"];
  for (const [name, options] of [
    ["mpi shm", []],
    ["mpi tcp", tcpOnly],
  ]) {
    const mpiArguments = [...launch, ...options, mpiProgram, ...sizes];
    contenders.push({ name, command: "mpirun", arguments: mpiArguments, times: new Map() });
  }
}
for (let i = 0; i < numRounds; i++) contenders.forEach(addRound);

console.log(
  `allReduce, float32 sum, ${worldSize} ranks on ${availableParallelism()} cores (${cpus()[0].model}), ` +
    `load ${loadavg()[0].toFixed(1)}, median (fastest) of ${numRounds} rounds` +
    `${mpiProgram === undefined ? "; without MPI: mpicc was not found" : `; ${run("mpirun", ["--version"]).split("\n")[0]}`}\n`,
);
printTable(contenders);
