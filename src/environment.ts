/**
 * What the environment says: which rank this process is, where the others are, and the settings of shardrun.
 * Environment variables come in, typed and checked data go out. The only reader of process.env, so that a reader of any other
 * file knows all of its inputs. SHARDRUN_* is believed first, then what mpirun, a PMI launcher, srun and torchrun set.
 */
import { homedir, hostname } from "node:os";
import { join } from "node:path";
import { UsageError } from "./errors.ts";

export type Variables = Readonly<Record<string, string | undefined>>;
/** The rank that leads. */
export const ROOT_RANK = 0;

/** What a rank tells its agent on the descriptor SHARDRUN_AGENT_FD: that it waits for the others, and that it has met them. */
export const RANK_JOINING = "w";
export const RANK_JOINED = "j";

export type EngineName = "shardrun" | "openmpi" | "pmi" | "slurm" | "torchrun" | "none";

/** Who this process is among the ranks of its run. */
export interface WorldIdentity {
  readonly rank: number;
  readonly worldSize: number;
  /** Among the ranks of this host; the world's numbers where the engine does not say. */
  readonly localRank: number;
  readonly localWorldSize: number;
  readonly host: string;
  /** Who started the ranks; "none": nobody, a world of one. */
  readonly engine: EngineName;
  /** The variables that were believed, e.g. "OMPI_COMM_WORLD_RANK" and "OMPI_COMM_WORLD_SIZE"; "" for engine "none". */
  readonly source: string;
  readonly worldSizeSource: string;
}

export interface Environment {
  readonly identity: WorldIdentity;
  /** Whether all ranks are on this host, as far as their numbers here and in the world were told. */
  readonly hosts: "one" | "several" | "unknown";
  /** host:port where rank 0's coordinator listens; undefined: the ranks agree on it themselves. */
  readonly coordinator: string | undefined;
  /** The 32 bytes that every connection of this run proves. */
  readonly secret: Uint8Array | undefined;
  /** The same on all ranks of this run and on no other run of this host; undefined where the engine gives none. */
  readonly runId: string | undefined;
  /** MASTER_ADDR of torchrun's convention: rank 0's host. */
  readonly masterAddress: string | undefined;
  /** MASTER_PORT, or the one after it where torchrun's own store holds that. */
  readonly masterPort: number | undefined;
  /** Name or address of the interface through which other hosts reach this rank; undefined: the one that leads to rank 0. */
  readonly networkInterface: string | undefined;
  /** How much of a model each rank of the world takes, compared with the others; undefined: all the same. */
  readonly rankWeights: readonly number[] | undefined;
  /** Certificates for the control channel between hosts; undefined: the run's secret alone. */
  readonly tls: TlsFiles | undefined;
  /** The file descriptor whose closing means that the launcher's agent is gone. */
  readonly agentFd: number | undefined;
  readonly startTimeoutMs: number;
  /** Columns of the terminal on which the launcher shows what ranks write on standard error; undefined: it is none. */
  readonly terminalColumns: number | undefined;
  readonly collectives: (typeof COLLECTIVES)[number];
  /** Path of the onnxruntime library to open in place of the one that onnxruntime-node ships. */
  readonly onnxRuntimePath: string | undefined;
  /** Which instruction set products with quantised weights use; undefined: the fastest of this CPU. */
  readonly kernels: string | undefined;
  /** OMP_NUM_THREADS, as CTranslate2 reads it: threads of one worker. */
  readonly numThreads: number | undefined;
}

/** Paths of PEM files. */
export interface TlsFiles {
  readonly certificateFile: string;
  readonly keyFile: string;
  /** Who signed the certificates of all ranks; undefined: whom the system trusts. */
  readonly authorityFile: string | undefined;
}

const COLLECTIVES = ["auto", "shm", "tcp", "grpc"] as const;
/** Long enough for a cold start on a loaded machine, short enough that a mistake is noticed by whoever typed it. */
const DEFAULT_START_TIMEOUT_MS = 30_000;
const SECRET_DIGITS = 64;

/** One engine: the variables that tell rank and size, the first that is set being believed. */
interface EngineVariables {
  readonly engine: EngineName;
  readonly rank: string;
  readonly worldSize: readonly string[];
  readonly localRank: string;
  readonly localWorldSize: readonly string[];
  readonly runId: (env: Variables) => string | undefined;
}

/** In order of precedence. */
const ENGINES: readonly EngineVariables[] = [
  {
    engine: "shardrun",
    rank: "SHARDRUN_RANK",
    worldSize: ["SHARDRUN_WORLD_SIZE"],
    localRank: "SHARDRUN_LOCAL_RANK",
    localWorldSize: ["SHARDRUN_LOCAL_WORLD_SIZE"],
    runId: () => undefined,
  },
  {
    engine: "openmpi",
    rank: "OMPI_COMM_WORLD_RANK",
    worldSize: ["OMPI_COMM_WORLD_SIZE"],
    localRank: "OMPI_COMM_WORLD_LOCAL_RANK",
    localWorldSize: ["OMPI_COMM_WORLD_LOCAL_SIZE"],
    runId: (env) => env["PMIX_NAMESPACE"] ?? env["OMPI_MCA_ess_base_jobid"],
  },
  {
    engine: "pmi",
    rank: "PMI_RANK",
    worldSize: ["PMI_SIZE"],
    localRank: "MPI_LOCALRANKID",
    localWorldSize: ["MPI_LOCALNRANKS"],
    runId: (env) => env["PMI_JOBID"] ?? env["PMI_PORT"] ?? slurmStepId(env),
  },
  {
    engine: "slurm",
    rank: "SLURM_PROCID",
    worldSize: ["SLURM_STEP_NUM_TASKS", "SLURM_NTASKS", "SLURM_NPROCS"],
    localRank: "SLURM_LOCALID",
    localWorldSize: [],
    runId: slurmStepId,
  },
  {
    engine: "torchrun",
    rank: "RANK",
    worldSize: ["WORLD_SIZE"],
    localRank: "LOCAL_RANK",
    localWorldSize: ["LOCAL_WORLD_SIZE", "LOCAL_SIZE"],
    runId: torchrunRunId,
  },
];

/**
 * Reads and checks all that shardrun takes from the environment.
 * @throws {UsageError} when a variable that is believed is malformed or contradicts another; names it and its value.
 */
export function readEnvironment(env: Variables = process.env): Environment {
  const engine = ENGINES.find((candidate) => isPresent(candidate, env));
  const coordinator = readCoordinator(env);
  const secret = readSecret(env);
  if (coordinator !== undefined && secret === undefined) {
    throw new UsageError(
      `SHARDRUN_COORDINATOR is "${coordinator}" but SHARDRUN_SECRET is not set: every connection proves the run's secret. ` +
        `Set SHARDRUN_SECRET to the same ${SECRET_DIGITS} hexadecimal digits on every rank.`,
    );
  }
  const identity = engine === undefined ? aloneOn(readHost(env)) : readIdentity(engine, env);
  return {
    identity,
    hosts: engine === undefined ? "one" : countHosts(engine, env, identity),
    coordinator,
    secret,
    runId: env["SHARDRUN_RUN_ID"] ?? engine?.runId(env),
    masterAddress: env["MASTER_ADDR"] || undefined,
    masterPort: readMasterPort(env),
    networkInterface: env["SHARDRUN_INTERFACE"] || undefined,
    rankWeights: readRankWeights(env, identity),
    tls: readTlsFiles(env),
    agentFd: readAgentFd(env),
    startTimeoutMs: readInteger("SHARDRUN_START_TIMEOUT_MS", env, 1) ?? DEFAULT_START_TIMEOUT_MS,
    terminalColumns: readInteger("SHARDRUN_TERMINAL_COLUMNS", env, 0) || undefined,
    collectives: readCollectives(env),
    onnxRuntimePath: env["SHARDRUN_ONNXRUNTIME"],
    kernels: env["SHARDRUN_KERNELS"] || undefined,
    numThreads: readNumThreads(env),
  };
}

/** Where files that can be made again are kept: SHARDRUN_CACHE, else XDG_CACHE_HOME/shardrun, else ~/.cache/shardrun. */
export function cacheDirectory(env: Variables = process.env): string {
  return env["SHARDRUN_CACHE"] || join(env["XDG_CACHE_HOME"] || join(homedir(), ".cache"), "shardrun");
}

/** SHARDRUN_CACHE_LIMIT as it was typed; undefined when it was not. */
export function cacheLimit(env: Variables = process.env): string | undefined {
  return env["SHARDRUN_CACHE_LIMIT"] || undefined;
}

/** All variables of this process, for handing on to a child. */
export function inheritedVariables(): Variables {
  return process.env;
}

/** An environment without its undefined values. */
export function definedVariables(environment: Variables): Record<string, string> {
  return Object.fromEntries(
    Object.entries(environment).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
}

/** The first of `names` that is set. An empty value counts as unset, as shells make it easy to leave one behind. */
function firstSet(names: readonly string[], env: Variables): string | undefined {
  return names.find((name) => env[name] !== undefined && env[name] !== "");
}

/** Whether this process is one of several started by that engine, or was told to be alone. */
function isPresent({ engine, rank, worldSize }: EngineVariables, env: Variables): boolean {
  const hasRank = firstSet([rank], env) !== undefined;
  const hasSize = firstSet(worldSize, env) !== undefined;
  if (engine === "slurm") return hasRank && hasSize && !isBatchScript(env);
  if (engine === "torchrun") return hasRank && hasSize; // names so general that one without the other means nothing
  return hasRank || hasSize;
}

/** sbatch gives its script SLURM_PROCID and SLURM_NTASKS although the script is no task; only srun sets a step's id. */
function isBatchScript(env: Variables): boolean {
  return env["ENVIRONMENT"] === "BATCH" && env["SLURM_STEP_ID"] === undefined;
}

function readIdentity(names: EngineVariables, env: Variables): WorldIdentity {
  const worldSizeSource = firstSet(names.worldSize, env);
  if (worldSizeSource === undefined) {
    throw new UsageError(
      `${names.rank} is "${env[names.rank]}" but ${names.worldSize[0]} is not set. Set both, or neither.`,
    );
  }
  const worldSize = readInteger(worldSizeSource, env, 1)!;
  const rank = readInteger(names.rank, env, 0) ?? (worldSize === 1 ? 0 : undefined);
  if (rank === undefined) {
    throw new UsageError(
      `${worldSizeSource} is "${worldSize}" but ${names.rank} is not set. Set it to this process's rank, 0 to ${worldSize - 1}.`,
    );
  }
  if (rank >= worldSize) {
    throw new UsageError(
      `${names.rank} is "${rank}" but ${worldSizeSource} is "${worldSize}": expected a rank from 0 to ${worldSize - 1}.`,
    );
  }
  return {
    rank,
    worldSize,
    ...readLocalIdentity(names, env, rank, worldSize),
    host: readHost(env),
    engine: names.engine,
    source: firstSet([names.rank], env) ?? worldSizeSource,
    worldSizeSource,
  };
}

function readLocalIdentity(names: EngineVariables, env: Variables, rank: number, worldSize: number) {
  const localWorldSize = readLocalWorldSize(names, env, worldSize) ?? worldSize;
  if (localWorldSize > worldSize) {
    throw new UsageError(
      `${firstSet(names.localWorldSize, env)} is "${localWorldSize}", more than the ${worldSize} ranks of the world (${names.worldSize[0]}).`,
    );
  }
  const localRank = readInteger(names.localRank, env, 0) ?? rank % localWorldSize;
  if (localRank >= localWorldSize) {
    throw new UsageError(
      `${names.localRank} is "${localRank}" on a host with ${localWorldSize} ranks: expected 0 to ${localWorldSize - 1}.`,
    );
  }
  return { localRank, localWorldSize };
}

/** Undefined where the engine does not say. */
function readLocalWorldSize(names: EngineVariables, env: Variables, worldSize: number): number | undefined {
  const source = firstSet(names.localWorldSize, env);
  if (source !== undefined) return readInteger(source, env, 1);
  return names.engine === "slurm" ? tasksOnThisNode(env, worldSize) : undefined;
}

function countHosts(names: EngineVariables, env: Variables, { worldSize }: WorldIdentity): Environment["hosts"] {
  const localWorldSize = readLocalWorldSize(names, env, worldSize);
  if (localWorldSize === undefined && worldSize > 1) return "unknown";
  return localWorldSize === undefined || localWorldSize === worldSize ? "one" : "several";
}

function aloneOn(host: string): WorldIdentity {
  return {
    rank: 0,
    worldSize: 1,
    localRank: 0,
    localWorldSize: 1,
    host,
    engine: "none",
    source: "",
    worldSizeSource: "",
  };
}

function readHost(env: Variables): string {
  return env["SHARDRUN_HOST"] || hostname();
}

/** Slurm writes tasks per node compressed: "2(x3),1" is 2, 2, 2, 1. Undefined when it speaks of the allocation, not of this step. */
function tasksOnThisNode(env: Variables, worldSize: number): number | undefined {
  const text = env["SLURM_STEP_TASKS_PER_NODE"] ?? env["SLURM_TASKS_PER_NODE"] ?? "";
  const counts = text.split(",").flatMap((part) => {
    const match = /^(\d+)(?:\(x(\d+)\))?$/.exec(part);
    return match === null ? [] : new Array<number>(Number(match[2] ?? 1)).fill(Number(match[1]));
  });
  if (counts.reduce((sum, count) => sum + count, 0) !== worldSize) return undefined;
  return counts[readInteger("SLURM_NODEID", env, 0) ?? 0];
}

function slurmStepId(env: Variables): string | undefined {
  const job = env["SLURM_JOB_ID"];
  return job === undefined ? undefined : `${job}.${env["SLURM_STEP_ID"] ?? "0"}`;
}

/** torchrun's id is "none" unless given, so the port, which no two runs of a host share, is part of it; a restart is another run. */
function torchrunRunId(env: Variables): string | undefined {
  const parts = ["TORCHELASTIC_RUN_ID", "MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RESTART_COUNT"].map(
    (name) => env[name],
  );
  return env["MASTER_PORT"] === undefined ? undefined : parts.map((part) => part ?? "").join(":");
}

function readCoordinator(env: Variables): string | undefined {
  const name = firstSet(["SHARDRUN_COORDINATOR"], env);
  if (name === undefined) return undefined;
  const value = env[name]!;
  const port = /^(?:\[[0-9a-fA-F:.]+\]|[^:\s]+):(\d{1,5})$/.exec(value)?.[1];
  if (port === undefined || Number(port) < 1 || Number(port) > 65_535) throw malformed(name, value, "host:port");
  return value;
}

/** torchrun's agent keeps a store of its own at MASTER_PORT, unless the ranks were started by hand. */
function readMasterPort(env: Variables): number | undefined {
  const port = readInteger("MASTER_PORT", env, 1);
  return port !== undefined && env["TORCHELASTIC_USE_AGENT_STORE"] === "True" ? port + 1 : port;
}

function readSecret(env: Variables): Uint8Array | undefined {
  const value = env["SHARDRUN_SECRET"];
  if (value === undefined || value === "") return undefined;
  if (!/^[0-9a-fA-F]+$/.test(value) || value.length !== SECRET_DIGITS) {
    // The value itself is a secret, even when it is not a good one.
    throw new UsageError(
      `SHARDRUN_SECRET has ${value.length} characters: expected ${SECRET_DIGITS} hexadecimal digits, the same on every rank.`,
    );
  }
  return Uint8Array.from(Buffer.from(value, "hex"));
}

function readTlsFiles(env: Variables): TlsFiles | undefined {
  const [certificate, key, authority] = ["SHARDRUN_TLS_CERT", "SHARDRUN_TLS_KEY", "SHARDRUN_TLS_CA"] as const;
  const given = firstSet([certificate, key, authority], env);
  if (given === undefined) return undefined;
  for (const name of [certificate, key]) {
    if (firstSet([name], env) !== undefined) continue;
    throw new UsageError(
      `${given} is "${env[given]}" but ${name} is not set. Set ${certificate} and ${key} on every rank, ` +
        `and ${authority} for an authority of your own; or none of them.`,
    );
  }
  return { certificateFile: env[certificate]!, keyFile: env[key]!, authorityFile: env[authority] || undefined };
}

/** One weight for each rank, separated by commas; a process without other ranks has no use for them. */
function readRankWeights(env: Variables, { engine, worldSize }: WorldIdentity): readonly number[] | undefined {
  const value = env["SHARDRUN_RANK_WEIGHTS"];
  if (!value || engine === "none") return undefined;
  const weights = value.split(",").map((text) => (text.trim() === "" ? NaN : Number(text)));
  if (weights.length !== worldSize || !weights.every((weight) => weight > 0 && weight < Infinity)) {
    throw malformed("SHARDRUN_RANK_WEIGHTS", value, `a positive number for each of the ${worldSize} ranks, e.g. 1,0.5`);
  }
  return weights;
}

/** Only the process that the agent itself started has the descriptor; where that is npx or tsx, its child has another one there. */
function readAgentFd(env: Variables): number | undefined {
  const fd = readInteger("SHARDRUN_AGENT_FD", env, 3);
  return readInteger("SHARDRUN_AGENT_PID", env, 1) === process.ppid ? fd : undefined;
}

function readCollectives(env: Variables): Environment["collectives"] {
  const value = env["SHARDRUN_COLLECTIVES"] || "auto";
  const known = COLLECTIVES.find((name) => name === value);
  if (known === undefined) throw malformed("SHARDRUN_COLLECTIVES", value, `one of ${COLLECTIVES.join(", ")}`);
  return known;
}

/** OpenMP allows a list, one number per nesting level; the outermost counts. */
function readNumThreads(env: Variables): number | undefined {
  const outermost = env["OMP_NUM_THREADS"]?.split(",")[0]?.trim();
  return readInteger("OMP_NUM_THREADS", { OMP_NUM_THREADS: outermost }, 1);
}

function readInteger(name: string, env: Variables, least: number): number | undefined {
  const value = env[name];
  if (value === undefined || value === "") return undefined;
  const number = Number(value);
  if (!/^\d+$/.test(value) || !Number.isSafeInteger(number) || number < least) {
    throw malformed(name, value, least === 0 ? "an integer, 0 or more" : `an integer, ${least} or more`);
  }
  return number;
}

function malformed(name: string, value: string, expected: string): UsageError {
  return new UsageError(`${name} is "${value}": expected ${expected}.`);
}
