import { homedir, hostname } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "@jest/globals";
import { cacheDirectory, cacheLimit, readEnvironment, type Variables } from "../../src/environment.ts";
import { UsageError } from "../../src/errors.ts";

const HOST = hostname();
const SECRET = "0123456789abcdef".repeat(4);

function identify(env: Variables) {
  return readEnvironment(env).identity;
}

/** What mpirun 4.1.4 sets, measured, as far as it says who is who. */
const OPENMPI = {
  OMPI_COMM_WORLD_RANK: "1",
  OMPI_COMM_WORLD_SIZE: "4",
  OMPI_COMM_WORLD_LOCAL_RANK: "1",
  OMPI_COMM_WORLD_LOCAL_SIZE: "4",
  PMIX_RANK: "1",
  PMIX_NAMESPACE: "1335099393",
};
/** A task of `srun -n 4` on nodes that take 2, 1 and 1 tasks. */
const SLURM_TASK = {
  SLURM_PROCID: "2",
  SLURM_NTASKS: "4",
  SLURM_NPROCS: "4",
  SLURM_STEP_NUM_TASKS: "4",
  SLURM_STEP_TASKS_PER_NODE: "2,1(x2)",
  SLURM_LOCALID: "0",
  SLURM_NODEID: "1",
  SLURM_JOB_ID: "77",
  SLURM_STEP_ID: "3",
};
const TORCHRUN = {
  RANK: "1",
  WORLD_SIZE: "2",
  LOCAL_RANK: "1",
  LOCAL_WORLD_SIZE: "2",
  MASTER_ADDR: "localhost",
  MASTER_PORT: "29500",
  TORCHELASTIC_RUN_ID: "none",
  TORCHELASTIC_RESTART_COUNT: "0",
};

describe("who this process is", () => {
  test("nobody started it: a world of one", () => {
    expect(identify({})).toEqual({
      rank: 0,
      worldSize: 1,
      localRank: 0,
      localWorldSize: 1,
      host: HOST,
      engine: "none",
      source: "",
      worldSizeSource: "",
    });
  });

  test.each<[string, Variables, object]>([
    [
      "shardrun",
      {
        SHARDRUN_RANK: "3",
        SHARDRUN_WORLD_SIZE: "4",
        SHARDRUN_LOCAL_RANK: "1",
        SHARDRUN_LOCAL_WORLD_SIZE: "2",
        SHARDRUN_HOST: "hostb",
      },
      {
        rank: 3,
        worldSize: 4,
        localRank: 1,
        localWorldSize: 2,
        host: "hostb",
        source: "SHARDRUN_RANK",
        worldSizeSource: "SHARDRUN_WORLD_SIZE",
      },
    ],
    ["openmpi", OPENMPI, { rank: 1, worldSize: 4, localRank: 1, localWorldSize: 4, source: "OMPI_COMM_WORLD_RANK" }],
    [
      "pmi",
      { PMI_RANK: "2", PMI_SIZE: "6", MPI_LOCALRANKID: "0", MPI_LOCALNRANKS: "2" },
      { rank: 2, worldSize: 6, localRank: 0, localWorldSize: 2, source: "PMI_RANK", worldSizeSource: "PMI_SIZE" },
    ],
    [
      "slurm",
      SLURM_TASK,
      { rank: 2, worldSize: 4, localRank: 0, localWorldSize: 1, worldSizeSource: "SLURM_STEP_NUM_TASKS" },
    ],
    ["torchrun", TORCHRUN, { rank: 1, worldSize: 2, localRank: 1, localWorldSize: 2, source: "RANK" }],
  ])("%s", (engine, env, expected) => {
    expect(identify(env)).toMatchObject({ engine, ...expected });
  });

  test("an engine that names no local rank is taken to have all ranks on this host", () => {
    expect(identify({ RANK: "1", WORLD_SIZE: "3" })).toMatchObject({ localRank: 1, localWorldSize: 3 });
    expect(identify({ SLURM_PROCID: "1", SLURM_NTASKS: "2" })).toMatchObject({ localRank: 1, localWorldSize: 2 });
  });

  test("Slurm's tasks per node are this step's only if they add up to it", () => {
    const allocation = { ...SLURM_TASK, SLURM_STEP_TASKS_PER_NODE: undefined, SLURM_TASKS_PER_NODE: "8(x2)" };
    expect(identify(allocation)).toMatchObject({ localWorldSize: 4 });
  });

  test("each engine is believed before those that follow it", () => {
    const all = {
      ...TORCHRUN,
      ...SLURM_TASK,
      PMI_RANK: "0",
      PMI_SIZE: "8",
      ...OPENMPI,
      SHARDRUN_RANK: "5",
      SHARDRUN_WORLD_SIZE: "9",
    };
    const engines = [];
    const env: Record<string, string> = { ...all };
    for (const prefix of ["SHARDRUN", "OMPI", "PMI_", "SLURM", "RANK"]) {
      engines.push(identify(env).engine);
      for (const name of Object.keys(env)) if (name.startsWith(prefix)) delete env[name];
    }
    expect(engines).toEqual(["shardrun", "openmpi", "pmi", "slurm", "torchrun"]);
    expect(identify(env).engine).toBe("none");
  });

  test("SHARDRUN_WORLD_SIZE=1 alone overrides an engine", () => {
    expect(identify({ ...SLURM_TASK, SHARDRUN_WORLD_SIZE: "1" })).toMatchObject({
      rank: 0,
      worldSize: 1,
      source: "SHARDRUN_WORLD_SIZE",
    });
  });

  test("an sbatch script is no task, a task of a step that it starts is", () => {
    const script = { ENVIRONMENT: "BATCH", SLURM_PROCID: "0", SLURM_NTASKS: "4", SLURM_JOB_ID: "77" };
    expect(identify(script).engine).toBe("none");
    expect(identify({ ...script, SLURM_STEP_ID: "0" })).toMatchObject({ engine: "slurm", rank: 0, worldSize: 4 });
  });

  test("a step of one task within a larger allocation is a world of one", () => {
    expect(identify({ ...SLURM_TASK, SLURM_PROCID: "0", SLURM_STEP_NUM_TASKS: "1" }).worldSize).toBe(1);
  });

  test("RANK or WORLD_SIZE alone, or an empty value, means nothing", () => {
    expect(identify({ RANK: "3" }).engine).toBe("none");
    expect(identify({ WORLD_SIZE: "3" }).engine).toBe("none");
    expect(identify({ SHARDRUN_RANK: "", SHARDRUN_WORLD_SIZE: "", RANK: "1", WORLD_SIZE: "2" }).engine).toBe(
      "torchrun",
    );
  });
});

describe("whether all ranks are on this host", () => {
  test.each<[string, Variables, string]>([
    ["nobody started it", {}, "one"],
    ["a world of one", { SHARDRUN_WORLD_SIZE: "1" }, "one"],
    ["all of mpirun's", OPENMPI, "one"],
    ["some of mpirun's", { ...OPENMPI, OMPI_COMM_WORLD_LOCAL_SIZE: "2" }, "several"],
    ["tasks of several nodes", SLURM_TASK, "several"],
    ["torchrun says", TORCHRUN, "one"],
    ["torchrun's variables by hand", { RANK: "0", WORLD_SIZE: "2" }, "unknown"],
  ])("%s", (_, env, expected) => {
    expect(readEnvironment(env).hosts).toBe(expected);
  });
});

describe("what tells the run apart", () => {
  test.each<[string, Variables, string | undefined]>([
    ["the launcher's id before all others", { ...OPENMPI, SHARDRUN_RUN_ID: "abc" }, "abc"],
    ["Open MPI's namespace", OPENMPI, "1335099393"],
    ["Slurm's step", SLURM_TASK, "77.3"],
    ["torchrun's id, meeting place and restart", TORCHRUN, "none:localhost:29500:0"],
    ["PMI's port", { PMI_RANK: "0", PMI_SIZE: "2", PMI_PORT: "hosta:4242" }, "hosta:4242"],
    ["nothing", { RANK: "0", WORLD_SIZE: "2" }, undefined],
  ])("%s", (_, env, expected) => {
    expect(readEnvironment(env).runId).toBe(expected);
  });
});

describe("settings", () => {
  test("defaults", () => {
    expect(readEnvironment({})).toMatchObject({
      coordinator: undefined,
      secret: undefined,
      runId: undefined,
      hosts: "one",
      masterAddress: undefined,
      masterPort: undefined,
      networkInterface: undefined,
      rankWeights: undefined,
      tls: undefined,
      agentFd: undefined,
      startTimeoutMs: 30_000,
      terminalColumns: undefined,
      collectives: "auto",
      onnxRuntimePath: undefined,
      kernels: undefined,
      numThreads: undefined,
    });
  });

  test("all that can be set", () => {
    const environment = readEnvironment({
      SHARDRUN_COORDINATOR: "127.0.0.1:4000",
      SHARDRUN_SECRET: SECRET,
      SHARDRUN_AGENT_FD: "3",
      SHARDRUN_AGENT_PID: String(process.ppid),
      SHARDRUN_START_TIMEOUT_MS: "500",
      SHARDRUN_TERMINAL_COLUMNS: "120",
      SHARDRUN_COLLECTIVES: "tcp",
      SHARDRUN_ONNXRUNTIME: "/opt/libonnxruntime.so",
      SHARDRUN_KERNELS: "plain",
      OMP_NUM_THREADS: "4,2",
      MASTER_ADDR: "hosta",
      MASTER_PORT: "29500",
      SHARDRUN_INTERFACE: "eth1",
      SHARDRUN_TLS_CERT: "rank.pem",
      SHARDRUN_TLS_KEY: "rank.key",
      SHARDRUN_TLS_CA: "ca.pem",
    });
    expect(environment).toMatchObject({
      coordinator: "127.0.0.1:4000",
      agentFd: 3,
      startTimeoutMs: 500,
      terminalColumns: 120,
      collectives: "tcp",
      onnxRuntimePath: "/opt/libonnxruntime.so",
      kernels: "plain",
      numThreads: 4,
      masterAddress: "hosta",
      masterPort: 29_500,
      networkInterface: "eth1",
      tls: { certificateFile: "rank.pem", keyFile: "rank.key", authorityFile: "ca.pem" },
    });
    expect(Buffer.from(environment.secret!).toString("hex")).toBe(SECRET);
  });

  test("weights are those of the ranks of a world", () => {
    const world = { SHARDRUN_RANK: "1", SHARDRUN_WORLD_SIZE: "3" };
    expect(readEnvironment({ ...world, SHARDRUN_RANK_WEIGHTS: "1,0.5, 2" }).rankWeights).toEqual([1, 0.5, 2]);
    expect(readEnvironment({ ...world, SHARDRUN_RANK_WEIGHTS: "" }).rankWeights).toBeUndefined();
    expect(readEnvironment({ SHARDRUN_RANK_WEIGHTS: "1,0.5" }).rankWeights).toBeUndefined(); // nobody shares with it
  });

  test("where torchrun's agent holds MASTER_PORT, the one after it is ours", () => {
    expect(readEnvironment({ MASTER_PORT: "29500", TORCHELASTIC_USE_AGENT_STORE: "True" }).masterPort).toBe(29_501);
  });

  test("a coordinator may be an IPv6 address", () => {
    expect(readEnvironment({ SHARDRUN_COORDINATOR: "[::1]:4000", SHARDRUN_SECRET: SECRET }).coordinator).toBe(
      "[::1]:4000",
    );
  });
});

test("the agent's descriptor is not believed in a process that the agent has not started", () => {
  const names = { SHARDRUN_AGENT_FD: "3", SHARDRUN_AGENT_PID: String(process.pid) };
  expect(readEnvironment(names).agentFd).toBeUndefined();
});

describe("what is refused", () => {
  test.each<[Variables, string]>([
    [
      { SHARDRUN_RANK: "4", SHARDRUN_WORLD_SIZE: "4" },
      'SHARDRUN_RANK is "4" but SHARDRUN_WORLD_SIZE is "4": expected a rank from 0 to 3.',
    ],
    [
      { SHARDRUN_RANK: "1", SHARDRUN_WORLD_SIZE: "two" },
      'SHARDRUN_WORLD_SIZE is "two": expected an integer, 1 or more.',
    ],
    [
      { OMPI_COMM_WORLD_RANK: "1", OMPI_COMM_WORLD_SIZE: "0" },
      'OMPI_COMM_WORLD_SIZE is "0": expected an integer, 1 or more.',
    ],
    [{ PMI_RANK: "-1", PMI_SIZE: "2" }, 'PMI_RANK is "-1": expected an integer, 0 or more.'],
    [{ SLURM_PROCID: "1.5", SLURM_NTASKS: "2" }, 'SLURM_PROCID is "1.5": expected an integer, 0 or more.'],
    [{ RANK: "0x1", WORLD_SIZE: "2" }, 'RANK is "0x1": expected an integer, 0 or more.'],
    [
      { RANK: "99999999999999999999", WORLD_SIZE: "2" },
      'RANK is "99999999999999999999": expected an integer, 0 or more.',
    ],
    [{ SHARDRUN_RANK: "1" }, 'SHARDRUN_RANK is "1" but SHARDRUN_WORLD_SIZE is not set. Set both, or neither.'],
    [
      { SHARDRUN_WORLD_SIZE: "4" },
      'SHARDRUN_WORLD_SIZE is "4" but SHARDRUN_RANK is not set. Set it to this process\'s rank, 0 to 3.',
    ],
    [
      { RANK: "1", WORLD_SIZE: "2", LOCAL_RANK: "2", LOCAL_WORLD_SIZE: "2" },
      'LOCAL_RANK is "2" on a host with 2 ranks: expected 0 to 1.',
    ],
    [
      { RANK: "1", WORLD_SIZE: "2", LOCAL_RANK: "1", LOCAL_WORLD_SIZE: "4" },
      'LOCAL_WORLD_SIZE is "4", more than the 2 ranks of the world (WORLD_SIZE).',
    ],
    [{ SHARDRUN_COORDINATOR: "hosta" }, 'SHARDRUN_COORDINATOR is "hosta": expected host:port.'],
    [{ SHARDRUN_COORDINATOR: "hosta:70000" }, 'SHARDRUN_COORDINATOR is "hosta:70000": expected host:port.'],
    [
      { SHARDRUN_COORDINATOR: "hosta:4000" },
      'SHARDRUN_COORDINATOR is "hosta:4000" but SHARDRUN_SECRET is not set: every connection proves the run\'s secret. ' +
        "Set SHARDRUN_SECRET to the same 64 hexadecimal digits on every rank.",
    ],
    [
      { SHARDRUN_SECRET: "topsecret" },
      "SHARDRUN_SECRET has 9 characters: expected 64 hexadecimal digits, the same on every rank.",
    ],
    [{ SHARDRUN_AGENT_FD: "2" }, 'SHARDRUN_AGENT_FD is "2": expected an integer, 3 or more.'],
    [{ SHARDRUN_TERMINAL_COLUMNS: "wide" }, 'SHARDRUN_TERMINAL_COLUMNS is "wide": expected an integer, 0 or more.'],
    [{ SHARDRUN_START_TIMEOUT_MS: "0" }, 'SHARDRUN_START_TIMEOUT_MS is "0": expected an integer, 1 or more.'],
    [{ SHARDRUN_COLLECTIVES: "pigeon" }, 'SHARDRUN_COLLECTIVES is "pigeon": expected one of auto, shm, tcp, grpc.'],
    [
      { SHARDRUN_TLS_CA: "ca.pem" },
      'SHARDRUN_TLS_CA is "ca.pem" but SHARDRUN_TLS_CERT is not set. Set SHARDRUN_TLS_CERT and SHARDRUN_TLS_KEY on every rank, ' +
        "and SHARDRUN_TLS_CA for an authority of your own; or none of them.",
    ],
    [
      { SHARDRUN_TLS_CERT: "rank.pem" },
      'SHARDRUN_TLS_CERT is "rank.pem" but SHARDRUN_TLS_KEY is not set. Set SHARDRUN_TLS_CERT and SHARDRUN_TLS_KEY on every rank, ' +
        "and SHARDRUN_TLS_CA for an authority of your own; or none of them.",
    ],
    ...["1", "1,2,3", "1,0", "1,-1", "1,", "1,x", "1,Infinity"].map((weights): [Variables, string] => [
      { SHARDRUN_RANK: "0", SHARDRUN_WORLD_SIZE: "2", SHARDRUN_RANK_WEIGHTS: weights },
      `SHARDRUN_RANK_WEIGHTS is "${weights}": expected a positive number for each of the 2 ranks, e.g. 1,0.5.`,
    ]),
    [{ MASTER_PORT: "http" }, 'MASTER_PORT is "http": expected an integer, 1 or more.'],
    [{ OMP_NUM_THREADS: "many" }, 'OMP_NUM_THREADS is "many": expected an integer, 1 or more.'],
  ])("%j", (env, message) => {
    expect(() => readEnvironment(env)).toThrow(expect.objectContaining({ name: UsageError.name, message }));
  });
});

describe("the cache", () => {
  test.each([
    [{ SHARDRUN_CACHE: "/big/cache", XDG_CACHE_HOME: "/xdg" }, "/big/cache"],
    [{ SHARDRUN_CACHE: "", XDG_CACHE_HOME: "/xdg" }, "/xdg/shardrun"],
    [{}, join(homedir(), ".cache/shardrun")],
  ])("%j lies in %s", (env, directory) => {
    expect(cacheDirectory(env)).toBe(directory);
  });

  test("its limit is what was typed", () => {
    expect(cacheLimit({ SHARDRUN_CACHE_LIMIT: "20GB" })).toBe("20GB");
    expect(cacheLimit({ SHARDRUN_CACHE_LIMIT: "" })).toBeUndefined();
  });
});
