/**
 * One script, one answer, whoever starts its ranks on two hosts: shardrun, Open MPI over ssh, Slurm, or torchrun's variables by hand;
 * and the command lines that mpirun's users type, given to both.
 */
import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import {
  type Cluster,
  CLUSTER_START_LIMIT_MS,
  describeWithCluster,
  type HostResult,
  startCluster,
} from "../support/cluster.ts";
import { COMMAND, runNode } from "../support/run-shardrun.ts";
import { startSlurm, whyNoSlurm } from "../support/slurm.ts";

const GENERATE = join(import.meta.dirname, "../../scripts/generate.mjs");
const HOSTFILE = "/tmp/hosts";
const SHARDRUN = [process.execPath, COMMAND];
const MPIRUN = ["mpirun", "--allow-run-as-root"];

const hasMpirun = spawnSync("mpirun", ["--version"]).status === 0;
const testWithMpirun = hasMpirun ? test : test.skip;
const testWithPython = spawnSync("/usr/bin/python3", ["--version"]).status === 0 && hasMpirun ? test : test.skip;
const slurmReason = whyNoSlurm();
const testWithSlurm = slurmReason === undefined ? test : test.skip;

describeWithCluster("engines on two hosts", () => {
  let cluster: Cluster;
  let answer: string;
  /** What ranks on several hosts must be told by whoever does not start them with shardrun. */
  let meeting: readonly string[];
  beforeAll(async () => {
    answer = (await runNode([GENERATE])).stdout;
    cluster = await startCluster({ numHosts: 2 });
    const { exitCode } = await on("hosta", `printf 'hosta slots=2\\nhostb slots=2\\n' > ${HOSTFILE}`);
    expect([exitCode, answer.length > 100]).toEqual([0, true]);
    const secret = randomBytes(32).toString("hex");
    meeting = [`SHARDRUN_SECRET=${secret}`, `SHARDRUN_COORDINATOR=${cluster.hosts[0]!.address}:29500`];
  }, CLUSTER_START_LIMIT_MS);
  afterAll(() => cluster.stop());

  function on(host: string, script: string): Promise<HostResult> {
    return cluster.run(host, ["sh", "-c", script]);
  }

  function expectAnswer({ exitCode, stdout, stderr }: HostResult): void {
    expect({ exitCode, stdout, stderr }).toEqual({ exitCode: 0, stdout: answer, stderr: "" });
  }

  test("shardrun", async () => {
    expectAnswer(
      await cluster.run("hosta", [...SHARDRUN, "-np", "4", "-hostfile", HOSTFILE, process.execPath, GENERATE]),
    );
  });

  testWithMpirun("mpirun over ssh", async () => {
    const launch = ["-np", "4", "-hostfile", HOSTFILE, ...meeting.flatMap((variable) => ["-x", variable])];
    expectAnswer(await cluster.run("hosta", [...MPIRUN, ...launch, process.execPath, GENERATE]));
  });

  testWithSlurm(`srun (${slurmReason ?? "slurm-wlm"})`, async () => {
    const srun = await startSlurm(cluster, 2);
    const ranks = await srun(["-N", "2", "-n", "4", "sh", "-c", "echo $SLURM_PROCID $(hostname)"]);
    expect(ranks.stdout.trim().split("\n").toSorted()).toEqual(["0 hosta", "1 hosta", "2 hostb", "3 hostb"]);
    expectAnswer(await srun(["-N", "2", "-n", "4", process.execPath, GENERATE], meeting));
    expectAnswer(await srun(["-N", "1", "-n", "2", process.execPath, GENERATE])); // on one host nothing else is needed
  });

  test("torchrun's variables, by hand on each host", async () => {
    const world = [
      "WORLD_SIZE=4",
      "LOCAL_WORLD_SIZE=2",
      `MASTER_ADDR=${cluster.hosts[0]!.address}`,
      "MASTER_PORT=29600",
    ];
    const [leader, ...followers] = await Promise.all(
      [0, 1, 2, 3].map((rank) => {
        const own = [`RANK=${rank}`, `LOCAL_RANK=${rank % 2}`, meeting[0]!];
        return cluster.run(rank < 2 ? "hosta" : "hostb", ["env", ...world, ...own, process.execPath, GENERATE]);
      }),
    );
    expectAnswer(leader!);
    for (const follower of followers) expect(follower).toEqual({ exitCode: 0, stdout: "", stderr: "" });
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
