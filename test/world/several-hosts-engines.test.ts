/**
 * One script, one answer, whoever starts its ranks on two hosts (shardrun, Open MPI over ssh, Slurm, or torchrun's variables by hand)
 * and however they talk; and the command lines that mpirun's users type, given to both.
 */
import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { hasOpenssl, makeCertificate } from "../support/certificates.ts";
import {
  type Cluster,
  CLUSTER_START_LIMIT_MS,
  describeWithCluster,
  type HostResult,
  startCluster,
} from "../support/cluster.ts";
import { COMMAND } from "../support/run-shardrun.ts";
import { startSlurm, whyNoSlurm } from "../support/slurm.ts";
import { useTemporaryDirectory } from "../support/temporary-directory.ts";

const SCRIPTS = join(import.meta.dirname, "../../scripts");
const HOSTFILE = "/tmp/hosts";
const SHARDRUN = [process.execPath, COMMAND];
const MPIRUN = ["mpirun", "--allow-run-as-root"];
/** Only rank 0 reads it. */
const TEXT_FILE = "/tmp/text";
/** All scripts of scripts/ that run on ranks; int8, as its bits do not depend on how many ranks of which hosts sum. */
const PROGRAMS = {
  generate: [process.execPath, join(SCRIPTS, "generate.mjs")],
  quantization: [
    process.execPath,
    ...[join(SCRIPTS, "measure-quantization.mjs"), "--types", "int8", "--text", TEXT_FILE],
  ],
} as const;

const hasMpirun = spawnSync("mpirun", ["--version"]).status === 0;
const testWithMpirun = hasMpirun ? test : test.skip;
const testWithPython = spawnSync("/usr/bin/python3", ["--version"]).status === 0 && hasMpirun ? test : test.skip;
const slurmReason = whyNoSlurm();
/** Skipped where the machine has no Slurm (Debian: slurm-wlm) or cannot run it. */
const testWithSlurm = slurmReason === undefined ? test : test.skip;

/** Starts four ranks, two on each host, with these variables; what rank 0's, or all of them, said. */
type Engine = (command: readonly string[], variables: readonly string[]) => Promise<HostResult>;
const directory = useTemporaryDirectory();
const entriesOf = <K extends string, V>(record: Readonly<Record<K, V>>) => Object.entries(record) as [K, V][];

describeWithCluster("engines on two hosts", () => {
  let cluster: Cluster;
  const answers: Record<string, string> = {};
  /** What ranks on several hosts must be told by whoever does not start them with shardrun. */
  let meeting: readonly string[];
  let startWithSlurm: Awaited<ReturnType<typeof startSlurm>>;
  beforeAll(async () => {
    cluster = await startCluster({ numHosts: 2, directories: [directory] });
    const files = `printf 'hosta slots=2\\nhostb slots=2\\n' > ${HOSTFILE}; echo Once there was a cat. > ${TEXT_FILE}`;
    expect(await on("hosta", files)).toEqual({ exitCode: 0, stdout: "", stderr: "" });
    const secret = randomBytes(32).toString("hex");
    meeting = [`SHARDRUN_SECRET=${secret}`, `SHARDRUN_COORDINATOR=${cluster.hosts[0]!.address}:29500`];
    answers["generate"] = (await cluster.run("hosta", PROGRAMS.generate)).stdout;
    const fourRanks = [...SHARDRUN, "-np", "4", "--oversubscribe"];
    answers["quantization"] = (await cluster.run("hosta", [...fourRanks, ...PROGRAMS.quantization])).stdout;
    expect(answers).toEqual({
      generate: expect.stringMatching(/^Once upon a time.{100,}\n$/s),
      quantization: expect.stringMatching(/\| int8 \|.* \| 100\.00 % \|\n$/), // "as 1 rank"
    });
    if (slurmReason === undefined) startWithSlurm = await startSlurm(cluster, 2);
    if (!hasOpenssl) return;
    makeCertificate(directory, "authority");
    makeCertificate(directory, "ranks", "authority", cluster.hosts[0]!.address);
  }, CLUSTER_START_LIMIT_MS);
  afterAll(() => cluster.stop());

  function on(host: string, script: string): Promise<HostResult> {
    return cluster.run(host, ["sh", "-c", script]);
  }

  const shardrun: Engine = (command, variables) => {
    const exports = variables.flatMap((variable) => ["-x", variable]);
    return cluster.run("hosta", [...SHARDRUN, "-np", "4", "-hostfile", HOSTFILE, ...exports, ...command]);
  };

  const mpirun: Engine = (command, variables) => {
    const exports = [...meeting, ...variables].flatMap((variable) => ["-x", variable]);
    return cluster.run("hosta", [...MPIRUN, "-np", "4", "-hostfile", HOSTFILE, ...exports, ...command]);
  };

  const srun: Engine = (command, variables) =>
    startWithSlurm(["-N", "2", "-n", "4", ...command], [...meeting, ...variables]);

  /** By hand on each host. */
  const torchrun: Engine = async (command, variables) => {
    const master = [`MASTER_ADDR=${cluster.hosts[0]!.address}`, "MASTER_PORT=29600"];
    const world = ["WORLD_SIZE=4", "LOCAL_WORLD_SIZE=2", ...master, meeting[0]!, ...variables];
    const [leader, ...followers] = await Promise.all(
      [0, 1, 2, 3].map((rank) => {
        const own = [`RANK=${rank}`, `LOCAL_RANK=${rank % 2}`];
        return cluster.run(rank < 2 ? "hosta" : "hostb", ["env", ...world, ...own, ...command]);
      }),
    );
    for (const follower of followers) expect(follower).toEqual({ exitCode: 0, stdout: "", stderr: "" });
    return leader!;
  };

  const certificates = [`SHARDRUN_TLS_CERT=${directory}/ranks.pem`, `SHARDRUN_TLS_KEY=${directory}/ranks.key`];
  const grpc = "SHARDRUN_COLLECTIVES=grpc";
  const settings = {
    "native collectives": [],
    "gRPC collectives": [grpc],
    // Without an authority of the run's own, rank 0's certificate must be one that Node trusts.
    "gRPC collectives, TLS": [
      ...[grpc, ...certificates, `NODE_EXTRA_CA_CERTS=${directory}/authority.pem`],
      "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH=",
    ],
    "gRPC collectives, mTLS": [grpc, ...certificates, `SHARDRUN_TLS_CA=${directory}/authority.pem`],
  };
  const engines = {
    shardrun: [test, shardrun],
    mpirun: [testWithMpirun, mpirun],
    srun: [testWithSlurm, srun],
    "torchrun's variables": [test, torchrun],
  } as const;
  /** Which engine is tried with which program and setting; all with all: SHARDRUN_TEST_MATRIX=whole. */
  const isTried = (engine: keyof typeof engines, program: keyof typeof PROGRAMS, setting: keyof typeof settings) =>
    process.env["SHARDRUN_TEST_MATRIX"] === "whole" ||
    (setting === "native collectives" && program === "generate") ||
    (setting === "gRPC collectives" && program === "quantization") ||
    (setting === "gRPC collectives, TLS" && program === "generate" && engine === "shardrun") ||
    (setting === "gRPC collectives, mTLS" && program === "generate" && (engine === "mpirun" || engine === "srun"));

  for (const [engine, [testWithEngine, start]] of entriesOf(engines)) {
    for (const [program, command] of entriesOf(PROGRAMS)) {
      for (const [setting, variables] of entriesOf(settings)) {
        if (!isTried(engine, program, setting)) continue;
        // TLS is skipped without openssl, which makes the certificates.
        const testWithAll = setting.includes("TLS") && !hasOpenssl ? test.skip : testWithEngine;
        testWithAll(`${program} under ${engine}, ${setting}`, async () => {
          expect(await start(command, variables)).toEqual({ exitCode: 0, stdout: answers[program], stderr: "" });
        });
      }
    }
  }

  testWithSlurm("srun places ranks in order, and on one host the ranks need to be told nothing", async () => {
    const ranks = await startWithSlurm(["-N", "2", "-n", "4", "sh", "-c", "echo $SLURM_PROCID $(hostname)"]);
    expect(ranks.stdout.trim().split("\n").toSorted()).toEqual(["0 hosta", "1 hosta", "2 hostb", "3 hostb"]);
    const oneHost = await startWithSlurm(["-N", "1", "-n", "2", ...PROGRAMS.generate]);
    expect(oneHost).toEqual({ exitCode: 0, stdout: answers["generate"], stderr: "" });
  });

  /** What both said, line by line in any order. */
  async function runBoth(args: readonly string[], variables: readonly string[] = []): Promise<readonly string[][]> {
    const runs = await Promise.all(
      [SHARDRUN, MPIRUN].map((launcher) => cluster.run("hosta", ["env", ...variables, ...launcher, ...args])),
    );
    return runs.map(({ exitCode, stdout }) => [`exit code ${exitCode}`, ...stdout.trim().split("\n").toSorted()]);
  }

  testWithPython("a line of exports and a Python script, as with mpirun", async () => {
    const program = [
      "import os",
      'names = ["OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"]',
      'names += ["VIRTUAL_ENV_PROMPT", "VIRTUAL_ENV", "LD_LIBRARY_PATH"]',
      'words = [str(os.environ.get(name)) for name in names] + [os.uname().nodename, str("/extra" in os.environ["PATH"])]',
      // In one piece: mpirun mixes the lines of ranks that write theirs in several.
      'os.write(1, (" ".join(words) + chr(10)).encode())',
    ].join("\n");
    await Promise.all(["hosta", "hostb"].map((host) => on(host, `echo '${program}' > /tmp/script.py`)));
    const variables = [
      "VIRTUAL_ENV_PROMPT=(venv) ",
      "VIRTUAL_ENV=/tmp/venv",
      "LD_LIBRARY_PATH=/opt/lib",
      "_=/usr/bin/python3",
    ];
    const names = ["VIRTUAL_ENV_PROMPT", "PATH", "VIRTUAL_ENV", "_", "LD_LIBRARY_PATH"];
    const line = [
      ...names.flatMap((name) => ["-x", name]),
      "-np",
      "4",
      "-hostfile",
      HOSTFILE,
      "/usr/bin/python3",
      "/tmp/script.py",
    ];
    const [ours, theirs] = await runBoth(
      ["--wdir", "/tmp", ...line],
      [...variables, `PATH=${process.env.PATH}:/extra`],
    );
    expect(ours).toEqual(theirs);
    expect(ours).toContain("3 4 1 (venv)  /tmp/venv /opt/lib hostb True");
  });

  const PLACE = [
    "sh",
    "-c",
    "echo $OMPI_COMM_WORLD_RANK $(hostname) $OMPI_COMM_WORLD_LOCAL_RANK/$OMPI_COMM_WORLD_LOCAL_SIZE",
  ];
  testWithMpirun.each<[hosts: string, args: string]>([
    ["hosta:2,hostb:3", ""],
    ["hosta:2,hostb:3", "-np 3"],
    ["hosta:2,hostb:3", "-np 3 --map-by node"],
    ["hosta:2,hostb:3", "--map-by slot --rank-by node"],
    ["hosta:2,hostb:3", "--map-by node --rank-by slot"],
    ["hosta:2,hostb:3", "--rank-by node"],
    ["hosta:2,hostb:3", "--map-by numa"],
    ["hosta:2,hostb:3", "--map-by numa --rank-by node"],
    ["hosta:2,hostb:2", "--map-by ppr:1:node"],
    ["hosta:1,hostb:1", "-np 4 --oversubscribe --map-by node"],
    ["hosta:1,hostb:1", "-np 5"],
  ])("places on %s %s", async (hosts, args) => {
    const words = args === "" ? [] : args.split(" ");
    const [ours, theirs] = await runBoth(["-H", hosts, "--bind-to", "none", ...words, ...PLACE]);
    expect(ours).toEqual(theirs);
  });
});
