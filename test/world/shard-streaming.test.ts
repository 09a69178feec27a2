/** Three hosts of which only the first has the model: the answer is one rank's, and no byte of a weight is sent twice. */
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import {
  type Cluster,
  CLUSTER_START_LIMIT_MS,
  describeWithCluster,
  type HostResult,
  startCluster,
} from "../support/cluster.ts";
import { LauncherRun } from "../support/launcher.ts";
import { COMMAND } from "../support/run-shardrun.ts";

const STORIES = join(import.meta.dirname, "../../models/demo-stories");
const MODEL = "/home/shardrun/model";
const RANDOM_MODEL = "/home/shardrun/random-model";
const THREE_HOSTS = ["-np", "6", "-H", "hosta:2,hostb:2,hostc:2"];
/** 4 layers of 2.3 M parameters, bfloat16: 20 MB. */
const RANDOM_CONFIG = {
  model_type: "llama",
  architectures: ["LlamaForCausalLM"],
  vocab_size: 1000,
  hidden_size: 256,
  intermediate_size: 2560,
  num_hidden_layers: 4,
  num_attention_heads: 8,
  num_key_value_heads: 8,
  max_position_embeddings: 256,
};

describeWithCluster("a model that lies on one of three hosts", () => {
  let cluster: Cluster;
  beforeAll(async () => {
    cluster = await startCluster({ numHosts: 3 });
    await cluster.run("hosta", ["cp", "-r", STORIES, MODEL]);
    await cluster.run("hosta", [process.execPath, "--input-type=module", "--eval", writeRandomModel()]);
  }, CLUSTER_START_LIMIT_MS);
  afterAll(() => cluster.stop());

  function writeRandomModel(): string {
    const library = join(import.meta.dirname, "../../dist/model/random-checkpoint.js");
    return `
      import { mkdirSync } from "node:fs";
      import { planRandomCheckpoint } from ${JSON.stringify(library)};
      mkdirSync(${JSON.stringify(RANDOM_MODEL)});
      planRandomCheckpoint("test", ${JSON.stringify(RANDOM_CONFIG)}).write(${JSON.stringify(RANDOM_MODEL)});`;
  }

  const generate = (options: readonly string[]): string[] => [
    process.execPath,
    COMMAND,
    "generate",
    ...options,
    "--json",
  ];
  const ids = ({ stdout }: HostResult): unknown => (JSON.parse(stdout) as { ids: unknown }).ids;
  const told = ({ stderr }: HostResult): string[] => stderr.split("\n").filter((line) => line.includes("of weights"));

  test("token ids are one rank's; the second start sends nothing", async () => {
    const options = ["--model", MODEL, "--prompt", "Once upon a time", "--max-length", "32"];
    const one = await cluster.run("hosta", generate(["-np", "1", ...options]));
    const first = await cluster.run("hosta", generate([...THREE_HOSTS, ...options]));
    expect([first.exitCode, ids(first)]).toEqual([0, ids(one)]);
    expect(told(first)).toEqual([
      expect.stringMatching(/^shardrun: sent \d+ KB of weights to hostb in [\d.]+ s \([\d.]+ MB\/s\)\.$/),
      expect.stringMatching(/^shardrun: sent \d+ KB of weights to hostc in [\d.]+ s \([\d.]+ MB\/s\)\.$/),
    ]);
    const second = await cluster.run("hosta", generate([...THREE_HOSTS, ...options]));
    expect([second.exitCode, ids(second)]).toEqual([0, ids(one)]);
    expect(told(second)).toEqual(["shardrun: sent 0 bytes of weights to hostb, hostc: cached there."]);
  });

  test("bench --json counts what was sent to each host", async () => {
    const options = ["--model", MODEL, "--prompt-tokens", "2", "--new-tokens", "1", "--repeat", "1", "--json"];
    const cache = ["-x", "SHARDRUN_CACHE=/tmp/bench"];
    const bench = [process.execPath, COMMAND, "bench", ...THREE_HOSTS, ...cache, ...options];
    const transfersOf = ({ stdout }: HostResult): unknown => (JSON.parse(stdout) as { transfers: unknown }).transfers;
    const all = [
      { rank: 2, host: "hostb" },
      { rank: 4, host: "hostc" },
    ];
    const sent = { totalBytes: expect.any(Number), sentBytes: expect.any(Number), milliseconds: expect.any(Number) };
    const first = transfersOf(await cluster.run("hosta", bench)) as { totalBytes: number; sentBytes: number }[];
    expect(first).toEqual(all.map((host) => ({ ...host, ...sent })));
    for (const { totalBytes, sentBytes } of first) expect([sentBytes > 100_000, sentBytes]).toEqual([true, totalBytes]);
    const nothing = { totalBytes: 0, sentBytes: 0, milliseconds: expect.any(Number) };
    expect(transfersOf(await cluster.run("hosta", bench))).toEqual(all.map((host) => ({ ...host, ...nothing })));
  });

  test("a terminal shows how far each host is; anything else only what came of it", async () => {
    const options = ["--model", RANDOM_MODEL, "--prompt-ids", "1,2,3", "--max-length", "2", "--quiet"];
    const command = (cache: string): string[] =>
      cluster.commandOn("hosta", generate([...THREE_HOSTS, ...options, "-x", `SHARDRUN_CACHE=/tmp/${cache}`]));
    const quote = (word: string): string => `'${word}'`;
    cluster.limitRate("hosta", 100);
    const shown = await new LauncherRun(["script", "-qec", command("shown").map(quote).join(" "), "/dev/null"]).result;
    const plain = await new LauncherRun(command("plain")).result;
    cluster.limitRate("hosta", 0);
    expect([shown.end, plain.end]).toEqual([0, 0]);

    const sent = (host: string): unknown =>
      expect.stringMatching(
        new RegExp(`^shardrun: sent [\\d.]+ MB of weights to ${host} in [\\d.]+ s \\([\\d.]+ MB/s\\)\\.$`),
      );
    expect(plain.stderr.split("\n")).toEqual([sent("hostb"), sent("hostc"), ""]);
    for (const host of ["hostb", "hostc"]) {
      const bar = new RegExp(`${host} \\[(=*)(-*)\\] (\\d+)% of [\\d.]+ MB, [\\d.]+ MB/s`, "g");
      const drawn = [...shown.stdout.matchAll(bar)];
      expect(drawn.length).toBeGreaterThan(2);
      const percentages = drawn.map(([, , , percentage]) => Number(percentage));
      expect(percentages).toEqual(percentages.toSorted((a, b) => a - b));
      expect(new Set(drawn.map(([, done = "", rest = ""]) => done.length + rest.length))).toEqual(new Set([24]));
    }
    // The bars are wiped before the first line after them.
    const [, after = ""] = shown.stdout.split("\x1b[0J");
    expect(after.split("\r\n").slice(0, 2)).toEqual([sent("hostb"), sent("hostc")]);
  });

  test("after a cut cable the next start sends the rest", async () => {
    const options = [
      "--model",
      RANDOM_MODEL,
      "--prompt-ids",
      "1,2,3",
      "--max-length",
      "8",
      "-x",
      "SHARDRUN_CACHE=/tmp/c",
    ];
    cluster.limitRate("hosta", 40);
    const run = new LauncherRun(cluster.commandOn("hosta", generate([...THREE_HOSTS, ...options])));
    await untilMirrored("hostb", 2);
    cluster.partition("hostb");
    expect((await run.result).end).not.toBe(0);
    cluster.heal("hostb");
    cluster.limitRate("hosta", 0);
    const kept = await countMirrored("hostb");

    const second = await cluster.run("hosta", generate([...THREE_HOSTS, ...options]));
    const one = await cluster.run("hosta", generate(["-np", "1", ...options]));
    expect([second.exitCode, ids(second)]).toEqual([0, ids(one)]);
    const [rest = 0] = told(second).map((line) => Number(/sent ([\d.]+) MB .* to hostb/.exec(line)?.[1]));
    const all = await countMirrored("hostb");
    expect(kept).toBeGreaterThan(2);
    expect(Math.abs(kept + rest - all)).toBeLessThan(1.2); // the chunk that was cut off, and what disks round up
  });

  /** MB on a host's disk. */
  async function countMirrored(host: string): Promise<number> {
    const { stdout } = await cluster.run(host, ["sh", "-c", "du -sB1 /tmp/c/mirror-* 2>/dev/null || true"]);
    return Number.parseInt(stdout) / 1e6;
  }

  async function untilMirrored(host: string, megabytes: number): Promise<void> {
    const deadline = performance.now() + 20_000;
    while (!((await countMirrored(host)) > megabytes)) {
      if (performance.now() > deadline) throw new Error(`after 20 s ${host} has mirrored less than ${megabytes} MB`);
    }
  }

  test("a full disk is an error that names host, need and remedy", async () => {
    const cache = "/tmp/small";
    await cluster.run("hostb", ["mkdir", cache]);
    await cluster.run("hostb", ["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "none", cache]);
    const options = ["--model", RANDOM_MODEL, "--prompt-ids", "1,2,3", "-x", `SHARDRUN_CACHE=${cache}`];
    const { exitCode, stderr } = await cluster.run("hosta", generate([...THREE_HOSTS, ...options]));
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(
      /^shardrun: Loading failed on rank 2 \(hostb\): Mirroring the model in \/tmp\/small\/mirror-[0-9a-f]+ failed: [\d.]+ MB are missing there, and [\d.]+ MB are free\. Make room, or let SHARDRUN_CACHE name a directory on a larger disk\.$/m,
    );
    await cluster.run("hostb", ["umount", cache]);
  });
});
