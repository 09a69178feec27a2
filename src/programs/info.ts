/** `shardrun info`: versions, compute types, cores, threads, devices, transports and algorithms: what would be used here, and why. */
import { existsSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism, cpus, hostname, totalmem } from "node:os";
import { native } from "../collective/native.ts";
import { findRuntimeLibrary } from "../collective/runtime-library.ts";
import { readEnvironment } from "../environment.ts";
import { resolveIntraThreads } from "../execute/threads.ts";
import { COMPUTE_TYPES } from "../model/compute-type.ts";
import type { Program } from "./options.ts";

const { version } = createRequire(import.meta.url)("../../package.json") as { version: string };

export const info: Program = {
  name: "info",
  describe:
    "Prints versions, compute types, cores, threads, devices, transports and algorithms: what would be used here, and why.",
  options: {},
  examples: [["$0 info", "before anything else goes wrong"]],
  runsOnRanks: false,

  run() {
    const rows = [
      ...describeVersions(),
      ...describeProcessors(),
      ...describeDevices(),
      ...describeTransports(),
      ...describeAllReduce(),
    ];
    const width = Math.max(...rows.map(([name]) => name.length));
    process.stdout.write(rows.map(([name, value]) => `${name.padEnd(width)}  ${value}\n`).join(""));
    return Promise.resolve(0);
  },
};

type Row = readonly [name: string, value: string];

function describeVersions(): Row[] {
  const library = findRuntimeLibrary(readEnvironment().onnxRuntimePath);
  return [
    ["shardrun", version],
    ["node", `${process.version} (${process.platform} ${process.arch})`],
    ["onnxruntime", `${native().openRuntime(library)} (${library})`],
    ["kernels", describeKernels()],
    ["compute types", `${COMPUTE_TYPES.join(", ")}; default is float32`],
  ];
}

/** What products with quantised weights use on this CPU. */
function describeKernels(): string {
  const supported = native().supportedKernels();
  const chosen = readEnvironment().kernels;
  if (chosen === undefined) return `${supported[0]} (of ${supported.join(", ")})`;
  native().chooseKernels(chosen);
  return `${chosen} (SHARDRUN_KERNELS)`;
}

function describeProcessors(): Row[] {
  const { numThreads } = readEnvironment();
  const library = resolveIntraThreads(0, numThreads, 1);
  const reason = numThreads === undefined ? "min(4, cores)" : "OMP_NUM_THREADS";
  return [
    ["host", `${hostname()}, ${(totalmem() / 2 ** 30).toFixed(0)} GiB`],
    [
      "cores",
      `${availableParallelism()} usable of ${cpus().length} (${cpus()[0]?.model.trim() ?? "unknown"}): as many slots`,
    ],
    [
      "threads",
      `Generator.load: ${library} (${reason}); ready-made programs: all cores, divided by the ranks of this host`,
    ],
    ["OMP_NUM_THREADS", numThreads === undefined ? "[not set]" : String(numThreads)],
  ];
}

function describeDevices(): Row[] {
  const gpus = existsSync("/proc/driver/nvidia/gpus") ? readdirSync("/proc/driver/nvidia/gpus").length : 0;
  return [["devices", gpus === 0 ? "cpu; no NVIDIA driver" : `cpu; ${gpus} NVIDIA GPU(s), which are not used yet`]];
}

function describeTransports(): Row[] {
  const { collectives } = readEnvironment();
  const used = collectives === "auto" ? "shm" : collectives;
  const reason = collectives === "auto" ? "all ranks are on this host" : `SHARDRUN_COLLECTIVES=${collectives}`;
  return [
    ["transports", `shm (memory shared by the ranks of a host), tcp, grpc (through rank 0's port)`],
    ["", `${used} would be used here: ${reason}; shm inside and tcp between several hosts`],
  ];
}

/** native/collectives/algorithms.h tells what each of them costs. */
function describeAllReduce(): Row[] {
  const kibibytes = (bytes: number): string => `${bytes / 1024} KiB`;
  const limit = kibibytes(native().oneShotBytes);
  return [
    ["allReduce", "2 ranks of one host: direct exchange"],
    ["", `3 or more ranks of one host: up to ${limit} direct exchange; above, reduce-scatter, then all-gather`],
    [
      "",
      `over tcp or grpc: up to ${limit} (2 ranks: ${kibibytes(native().pairBytes)}) direct exchange; above, reduce-scatter and`,
    ],
    ["", `all-gather in blocks of at most ${kibibytes(native().blockBytes)}, several of them under way at once`],
    [
      "",
      `several hosts, some with several ranks: up to ${limit} direct exchange; above, reduce-scatter in each host, the same`,
    ],
    ["", "blocks between hosts, all-gather in each host"],
  ];
}
