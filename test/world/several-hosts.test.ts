/** Three hosts with two ranks each, started over ssh from the first: the same answer as one rank's. */
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import type { Prediction } from "../../src/partition/predict.ts";
import { type Cluster, CLUSTER_START_LIMIT_MS, describeWithCluster, startCluster } from "../support/cluster.ts";
import { LauncherRun, runLauncher } from "../support/launcher.ts";
import { COMMAND, runNode } from "../support/run-shardrun.ts";

const GENERATE = join(import.meta.dirname, "../../scripts/generate.mjs");
const MODEL = join(import.meta.dirname, "../../models/demo-stories");
const SIX_RANKS = [COMMAND, "-np", "6", "-H", "hosta:2,hostb:2,hostc:2"];

describeWithCluster("three hosts", () => {
  let cluster: Cluster;
  beforeAll(async () => {
    cluster = await startCluster({ numHosts: 3 });
  }, CLUSTER_START_LIMIT_MS);
  afterAll(() => cluster.stop());

  async function expectNothingLeft(): Promise<void> {
    for (const { name } of cluster.hosts) {
      const deadline = performance.now() + 10_000;
      while (cluster.processes(name).length > 0 && performance.now() < deadline) await cluster.run(name, ["true"]);
      expect(cluster.processes(name)).toEqual([]);
      expect((await cluster.run(name, ["ls", "/dev/shm"])).stdout).toBe("");
    }
  }

  test("a script's answer is one rank's", async () => {
    const several = await cluster.run("hosta", [process.execPath, ...SIX_RANKS, process.execPath, GENERATE]);
    const one = await runNode([GENERATE]);
    expect([several.exitCode, several.stdout]).toEqual([0, one.stdout]);
    await expectNothingLeft();
  });

  test("where only rank 0's coordinator is open, the answer is the same", async () => {
    const script = join(import.meta.dirname, "scripts/failing.mjs");
    const grpc = ["-x", "SHARDRUN_COLLECTIVES=grpc"];
    const several = await cluster.run("hosta", [process.execPath, ...SIX_RANKS, ...grpc, process.execPath, GENERATE]);
    const one = await runNode([GENERATE]);
    expect([several.exitCode, several.stdout]).toEqual([0, one.stdout]);
    const run = new LauncherRun(
      cluster.commandOn("hosta", [process.execPath, ...SIX_RANKS, ...grpc, process.execPath, script, "generating"]),
    );
    await run.waitForOutput("now");
    const listening = await Promise.all(cluster.hosts.map(({ name }) => cluster.run(name, ["ss", "-Hltn"])));
    const isOpen = (line: string) => !/127\.0\.0\.1:|:22\s/.test(line);
    expect(listening.map(({ stdout }) => stdout.split("\n").filter(Boolean).filter(isOpen).length)).toEqual([1, 0, 0]);
    const rank = cluster.processes("hostb").find(({ command }) => command.includes("failing.mjs"))!;
    process.kill(rank.pid, "SIGKILL");
    const { end, stderr } = await run.result;
    expect(end).toBe(137);
    expect(stderr).toMatch(/process rank [23] with PID \d+ on host hostb exited on signal 9 \(Killed\)/);
    await expectNothingLeft();
  });

  test("token ids are one rank's", async () => {
    const options = ["--model", MODEL, "--prompt", "Once upon a time", "--max-length", "32", "--json"];
    const [command = "", ...launch] = SIX_RANKS;
    const several = await cluster.run("hosta", [process.execPath, command, "generate", ...launch, ...options]);
    const one = await runNode([COMMAND, "generate", "-np", "1", ...options]);
    const { ids } = JSON.parse(one.stdout) as { ids: number[] };
    expect(ids.length).toBeGreaterThan(16);
    expect(JSON.parse(several.stdout)).toMatchObject({ ids });
    await expectNothingLeft();
  });

  test("plan --predict sees that these hosts share one machine", async () => {
    const hosts = ["-np", "2", "-H", "hosta:1,hostb:1"];
    const options = ["--model", MODEL, "--intra-threads", String(availableParallelism()), "--json"];
    const command = [process.execPath, COMMAND, "plan", "--predict", ...hosts, ...options];
    const { exitCode, stdout, stderr } = await cluster.run("hosta", command);
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
    const { transport, predictions } = JSON.parse(stdout) as {
      readonly transport: string;
      readonly predictions: readonly Prediction[];
    };
    expect(transport).toBe("tcp");
    expect(predictions.map(({ takesTurns }) => takesTurns)).toEqual([false, true]);
  });

  test("a ready-made program finds its model on rank 0's host, which need not be the launcher's", async () => {
    const there = "/tmp/only-there";
    expect((await cluster.run("hosta", ["cp", "-r", MODEL, there])).exitCode).toBe(0);
    const reach = ["--ssh-args", `-F ${cluster.sshConfigFile}`, "-np", "2", "-H", "hosta,hostb"];
    const options = ["--prompt", "Once upon a time", "--max-length", "24", "--json"];
    const several = await runLauncher(["generate", ...reach, "--model", there, ...options]);
    const one = await runNode([COMMAND, "generate", "-np", "1", "--model", MODEL, ...options]);
    expect([several.end, several.stdout]).toEqual([0, one.stdout]);

    const missing = await runLauncher(["generate", ...reach, "--model", "/tmp/nowhere", ...options]);
    expect([missing.end, missing.stdout]).toEqual([1, ""]);
    expect(missing.stderr.replace(/PID \d+/, "PID N")).toBe(
      'shardrun: rank 0 (hosta): Model "/tmp/nowhere" does not exist: expected a checkpoint directory or a GGUF file.\n' +
        "shardrun: process rank 0 with PID N on host hosta exited with exit code 1; the other ranks were ended.\n",
    );
    await expectNothingLeft();
  });

  test("a host of less weight holds less of the model; devices are shared by its ranks", async () => {
    const hostfile = "hosta slots=1 weight=3 devices=4\\nhostb slots=2 devices=0,1\\n";
    const launch = `${process.execPath} ${COMMAND} -hostfile /tmp/hosts ${process.execPath}`;
    const runOn = (...command: string[]) =>
      cluster.run("hosta", ["sh", "-c", `printf '${hostfile}' > /tmp/hosts; exec ${launch} "$@"`, "sh", ...command]);
    const script = join(import.meta.dirname, "scripts/weights.mjs");
    const [several, one] = [await runOn(script), await runNode([script])];
    type Answer = { ids: number[]; weights: number[] };
    const [answer, alone] = [several, one].map(({ stdout }) => JSON.parse(stdout) as Answer);
    expect(answer!.ids).toEqual(alone!.ids);
    const [a, b, c] = answer!.weights as [number, number, number];
    expect([a / b > 2, a / c > 2]).toEqual([true, true]);

    const devices = await runOn("-e", "console.log(process.env.RANK, process.env.CUDA_VISIBLE_DEVICES)");
    expect(devices.stdout.trim().split("\n").toSorted()).toEqual(["0 4", "1 0", "2 1"]);
    await expectNothingLeft();
  });
});
