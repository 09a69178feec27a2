// Measures allReduce over shared memory and TCP between the ranks of this host, or over TCP between hosts of the test cluster, beside
// MPI_Allreduce over the same when mpicc is there.
//     node scripts/bench-collectives.mjs [--ranks 2] [--rounds 5] [--sizes BYTES,...]
//     node scripts/bench-collectives.mjs --hosts 2 [--rate MBIT] [--rounds 5] [--sizes BYTES,...]      as root: test/cluster/cluster.sh
// --rate limits what each host sends and receives; the table then says which share of the bound of that rate allReduce reaches: N hosts
// exchange 2(N-1)/N of the bytes in each direction at least. --other PROGRAM adds another build of scripts/bench_collectives.cc. --realtime
// has all ranks, MPI's too, run before anything else on a busy machine.
//
// All are loops in C or C++ around the call alone (scripts/bench_collectives.cc, scripts/mpi_allreduce.c): float32 sums in place, each
// size in one loop that begins at a barrier. Below the table stands what 16 KiB take in the same processes by half a round trip and, between
// two ranks, by the same exchange over TCP connections of its own with nothing but send and recv.
// Each rank has a core of its own where there are enough. The rounds of all take turns, so that a busy moment hits all of them; the table
// has the median round, and the fastest in brackets. A ratio is that of the medians: below 1, shardrun is faster.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync } from "node:fs";
import { availableParallelism, cpus, loadavg } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { buildPrograms, run } from "./native-programs.mjs";

const root = fileURLToPath(new URL("../", import.meta.url));
const build = join(root, "native/build/bench");
const cluster = join(root, "test/cluster/cluster.sh");
/** What an allReduce of so many bytes is compared with: operations of scripts/bench_collectives.cc, and how the output names them. */
const REFERENCE_BYTES = 16384;
const HALF_ROUND_TRIP = ["pingPong", "half a round trip"];
const BARE_EXCHANGES = [
  ["bareExchange", "send and recv alone"],
  ["twoWireExchange", "the same with a connection per direction"],
];
/** Bits per second by which the length of a loop is reckoned when no rate is given: some tenths of a second. */
const UNLIMITED = 4e9;

const { values: options } = parseArgs({
  options: {
    ranks: { type: "string", default: "2" },
    hosts: { type: "string" },
    rate: { type: "string", default: "0" },
    rounds: { type: "string", default: "5" },
    sizes: { type: "string" },
    other: { type: "string" },
    realtime: { type: "boolean", default: false },
  },
});
const onCluster = options.hosts !== undefined;
const numRanks = Number(options.hosts ?? options.ranks);
const bitsPerSecond = Number(options.rate) * 1e6;
const defaultSizes = onCluster
  ? "16384,65536,262144,1048576,8388608,67108864"
  : "4,1024,8192,16384,65536,262144,1048576,8388608,67108864";
const sizes = (options.sizes ?? defaultSizes).split(",").map(Number);

/** The MPI program, or undefined without mpicc. */
async function buildMpi() {
  const program = join(build, "mpi_allreduce");
  try {
    await run("mpicc", ["-O3", "scripts/mpi_allreduce.c", "-o", program]);
    return program;
  } catch (error) {
    if (error.code === "ENOENT") return undefined;
    throw error;
  }
}

/** Hosts of the test cluster with the programs on them; `stop` ends them. */
async function startCluster() {
  const holder = spawn("bash", [cluster, "hold", String(numRanks), root], { stdio: ["pipe", "pipe", "inherit"] });
  const [line] = await once(createInterface({ input: holder.stdout }), "line");
  if (line !== "ready") throw new Error(`the cluster did not start: ${line}`);
  const hosts = Array.from({ length: numRanks }, (_, i) => `host${String.fromCharCode(97 + i)}`);
  if (bitsPerSecond > 0) for (const host of hosts) await run("bash", [cluster, "rate", host, options.rate]);
  return { hosts, stop: () => holder.stdin.end() };
}

/** The command that runs `command` on a host of the cluster; "localhost": here. */
function commandOn(host, command) {
  return host === "localhost" ? command : ["ssh", "-F", "/run/shardrun-cluster/ssh_config", host, ...command];
}

/** The command of a rank, on a core of its own where there are enough: hosts of the cluster share this machine's. */
function onOwnCore(rank, command) {
  const ownCore = numRanks <= availableParallelism() ? ["taskset", "--cpu-list", String(rank)] : [];
  return [...(options.realtime ? ["chrt", "--fifo", "50"] : []), ...ownCore, ...command];
}

/** Calls that take some tenths of a second: long enough that ranks do not owe their time to having been alone for a moment. */
function withCalls(bytes) {
  return `${bytes}:${Math.floor(((bitsPerSecond || UNLIMITED) / 16 - 16384) / (bytes + 16384)) + 2}`;
}

const referencesOver = (transport) => [
  HALF_ROUND_TRIP,
  ...(transport === "tcp" && numRanks === 2 ? BARE_EXCHANGES : []),
];

/** Starts a rank per host, tells all of them the addresses of all; what rank 0 prints then. */
async function runRanks(program, transport, hosts) {
  const tasks = [
    ...referencesOver(transport).map(([operation]) => `${operation}:${withCalls(REFERENCE_BYTES)}`),
    ...sizes.map((bytes) => `allReduce:${withCalls(bytes)}`),
  ];
  const ranks = hosts.map((host, rank) => {
    const address = host === "localhost" ? "127.0.0.1" : host;
    const rankCommand = [program, transport, String(rank), address, hosts.join(","), ...tasks];
    const [command, ...rest] = commandOn(host, onOwnCore(rank, rankCommand));
    const child = spawn(command, rest, { stdio: ["pipe", "pipe", "inherit"] });
    return {
      child,
      closed: once(child, "close"),
      lines: createInterface({ input: child.stdout })[Symbol.asyncIterator](),
    };
  });
  const addresses = [];
  for (const { lines } of ranks) addresses.push((await lines.next()).value);
  for (const { child } of ranks) child.stdin.end(`${addresses.join("\n")}\n`);
  const printed = [];
  for await (const line of ranks[0].lines) printed.push(line);
  for (const { closed } of ranks) {
    const [code, signal] = await closed;
    if (code !== 0) throw new Error(`a rank ended with ${code ?? signal}`);
  }
  return printed;
}

async function runMpi(program, hosts, mpiOptions) {
  const launch = ["mpirun", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none"];
  const network = onCluster ? ["--mca", "btl_tcp_if_include", "eth0"] : [];
  const ranks = hosts.flatMap((host, rank) => {
    const rankCommand = onOwnCore(rank, [program, ...sizes.map(withCalls)]);
    return [...(rank === 0 ? [] : [":"]), "-np", "1", "-H", host, ...rankCommand];
  });
  const [command, ...rest] = commandOn(hosts[0], [...launch, ...network, ...mpiOptions, ...ranks]);
  return (await run(command, rest)).split("\n").filter((line) => line.startsWith("allReduce:"));
}

/** Adds one round of a contender to its times: task -> microseconds of each round. */
async function addRound(contender) {
  for (const line of await contender.run()) {
    const [task, microseconds] = line.split(" ");
    contender.times.set(task, [...(contender.times.get(task) ?? []), Number(microseconds)]);
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

/** Which share of the link's rate an allReduce in this time reaches. */
function linkShare(bytes, microseconds) {
  const leastBits = ((2 * (numRanks - 1)) / numRanks) * bytes * 8;
  return leastBits / bitsPerSecond / (microseconds / 1e6);
}

function printTable(contenders) {
  const medianOf = (contender, task) => median(contender.times.get(task));
  const pairs = contenders.flatMap((own) => {
    const mpi = contenders.find(({ name }) => name === `mpi ${own.name}`);
    return mpi === undefined ? [] : [[own, mpi]];
  });
  const linked = bitsPerSecond > 0 ? contenders : [];
  const print = (cells) => console.log(`| ${cells.join(" | ")} |`);
  const headings = [
    ...contenders.map(({ name }) => `${name} µs`),
    ...pairs.map(([own, mpi]) => `${own.name} / ${mpi.name}`),
    ...linked.map(({ name }) => `${name}, of the link`),
  ];
  print(["bytes", ...headings]);
  print(["---:", ...headings.map(() => "---:")]);
  for (const bytes of sizes) {
    const task = `allReduce:${bytes}`;
    const cells = contenders.map(
      ({ times }) => `${round(median(times.get(task)))} (${round(Math.min(...times.get(task)))})`,
    );
    const ratios = pairs.map(([own, mpi]) => (medianOf(own, task) / medianOf(mpi, task)).toFixed(2));
    const shares = linked.map((contender) => linkShare(bytes, medianOf(contender, task)).toFixed(2));
    print([sizeName(bytes), ...cells, ...ratios, ...shares]);
  }
  console.log("");
  const allReduce = `allReduce:${REFERENCE_BYTES}`;
  for (const contender of contenders) {
    for (const [operation, description] of [HALF_ROUND_TRIP, ...BARE_EXCHANGES]) {
      const reference = `${operation}:${REFERENCE_BYTES}`;
      if (!contender.times.has(reference) || !contender.times.has(allReduce)) continue;
      const ratio = medianOf(contender, allReduce) / medianOf(contender, reference);
      const time = round(medianOf(contender, reference));
      console.log(
        `${contender.name}, ${sizeName(REFERENCE_BYTES)}: ${description} ${time} µs; allReduce takes ${ratio.toFixed(2)} of that`,
      );
    }
  }
}

mkdirSync(build, { recursive: true });
const [ownProgram] = await buildPrograms("plain", [join(root, "scripts/bench_collectives.cc")]);
const mpiProgram = await buildMpi();
const { hosts, stop } = onCluster
  ? await startCluster()
  : { hosts: new Array(numRanks).fill("localhost"), stop: () => {} };
try {
  const transports = onCluster ? ["tcp"] : ["shm", "tcp"];
  const own = [["", ownProgram], ...(options.other === undefined ? [] : [["other ", options.other]])];
  const contenders = transports.flatMap((transport) =>
    own.map(([prefix, program]) => ({
      name: `${prefix}${transport}`,
      run: () => runRanks(program, transport, hosts),
      times: new Map(),
    })),
  );
  if (mpiProgram !== undefined) {
    const tcpOnly = ["--mca", "pml", "ob1", "--mca", "btl", "tcp,self"];
    for (const transport of transports) {
      const mpiOptions = transport === "tcp" ? tcpOnly : [];
      contenders.push({
        name: `mpi ${transport}`,
        run: () => runMpi(mpiProgram, hosts, mpiOptions),
        times: new Map(),
      });
    }
  }
  for (let i = 0; i < Number(options.rounds); i++) for (const contender of contenders) await addRound(contender);

  const where = onCluster ? `${numRanks} hosts of the test cluster` : `${numRanks} ranks of one host`;
  const limit = bitsPerSecond > 0 ? `, ${options.rate} Mbit/s in each direction` : "";
  const mpi =
    mpiProgram === undefined ? "without MPI: mpicc was not found" : (await run("mpirun", ["--version"])).split("\n")[0];
  console.log(
    `allReduce, float32 sum, ${where}${limit}; ${availableParallelism()} cores (${cpus()[0].model}), ` +
      `load ${loadavg()[0].toFixed(1)}, median (fastest) of ${options.rounds} rounds${options.realtime ? ", in real time" : ""}; ${mpi}\n`,
  );
  printTable(contenders);
} finally {
  stop();
}
