/**
 * How well weights that go to a host without the model use a link of 1 Gbit/s: beside plain TCP over the same link, in turn.
 * Prints the line of docs/performance.md.
 */
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { type Cluster, CLUSTER_START_LIMIT_MS, describeWithCluster, startCluster } from "../support/cluster.ts";
import { COMMAND } from "../support/run-shardrun.ts";

const NUM_ROUNDS = Number(process.env["SHARDRUN_TEST_REPEATS"] ?? 5);
const LINK_MEGABITS = 1000;
const LEAST_RATIO = 0.9;
const LIMIT_MS = 300_000;
const DIST = join(import.meta.dirname, "../../dist");
const MODEL = "/home/shardrun/model";
const CACHE = "/tmp/cache";
const PORT = 7000;

describeWithCluster("two hosts, of which one has the model", () => {
  let cluster: Cluster;
  beforeAll(async () => {
    cluster = await startCluster({ numHosts: 2 });
    await runNode(
      "hosta",
      `import { mkdirSync } from "node:fs";
       import { planRandomCheckpoint } from ${JSON.stringify(join(DIST, "model/random-checkpoint.js"))};
       import { BENCH_CONFIGS } from ${JSON.stringify(join(DIST, "programs/bench-configs.js"))};
       mkdirSync("${MODEL}");
       planRandomCheckpoint("test", BENCH_CONFIGS["llama-160m"]).write("${MODEL}");`,
    );
    cluster.limitRate("hosta", LINK_MEGABITS);
  }, CLUSTER_START_LIMIT_MS);
  afterAll(() => cluster.stop());

  async function run(host: string, command: readonly string[]): Promise<string> {
    const { exitCode, stdout, stderr } = await cluster.run(host, command);
    if (exitCode !== 0) throw new Error(`${command.join(" ")} on ${host} ended with ${exitCode}: ${stderr}`);
    return stdout;
  }

  const runNode = (host: string, script: string): Promise<string> =>
    run(host, [process.execPath, "--input-type=module", "--eval", script]);

  /** What rank 0 counted of one start that sends all. */
  async function stream(): Promise<{ readonly sentBytes: number; readonly milliseconds: number }> {
    for (const { name } of cluster.hosts) await run(name, ["rm", "-rf", CACHE]);
    const options = ["-np", "2", "-H", "hosta:1,hostb:1", "-x", `SHARDRUN_CACHE=${CACHE}`, "--model", MODEL];
    const sizes = ["--prompt-tokens", "2", "--new-tokens", "1", "--repeat", "1"];
    const report = await run("hosta", [process.execPath, COMMAND, "bench", ...options, ...sizes, "--json"]);
    const { transfers } = JSON.parse(report) as {
      readonly transfers: readonly { readonly sentBytes: number; readonly milliseconds: number }[];
    };
    return transfers[0]!;
  }

  /** Milliseconds until `numBytes` have been sent over one connection, read at the other end, and that was answered. */
  async function sendPlainly(numBytes: number): Promise<number> {
    const receiving = runNode(
      "hostb",
      `import { createServer } from "node:net";
       const server = createServer({ allowHalfOpen: true }, (socket) => {
         server.close();
         socket.resume().on("end", () => socket.end());
       });
       server.listen(${PORT});`,
    );
    const sent = await runNode(
      "hosta",
      `import { createConnection } from "node:net";
       import { once } from "node:events";
       import { setTimeout as sleep } from "node:timers/promises";
       async function connect() {
         for (;;) {
           const socket = createConnection(${PORT}, "hostb");
           try { await once(socket, "connect"); return socket; } catch { await sleep(20); }
         }
       }
       const socket = (await connect()).resume();
       const block = Buffer.alloc(1 << 20);
       const started = performance.now();
       for (let rest = ${numBytes}; rest > 0; rest -= block.length) {
         if (!socket.write(block.subarray(0, Math.min(rest, block.length)))) await once(socket, "drain");
       }
       socket.end();
       await once(socket, "end");
       console.log(performance.now() - started);`,
    );
    await receiving;
    return Number(sent);
  }

  test(
    `shards go out at ${LEAST_RATIO} or more of the rate of plain TCP`,
    async () => {
      const ratios: number[] = [];
      for (let round = 0; round < NUM_ROUNDS; round++) {
        const { sentBytes, milliseconds } = await stream();
        const plainMs = await sendPlainly(sentBytes);
        const [rate, plainRate] = [milliseconds, plainMs].map((ms) => sentBytes / 1000 / ms) as [number, number];
        ratios.push(rate / plainRate);
        process.stdout.write(
          `${(sentBytes / 1e6).toFixed(1)} MB: ${rate.toFixed(1)} MB/s, plain TCP ${plainRate.toFixed(1)} MB/s, ratio ${(rate / plainRate).toFixed(3)}\n`,
        );
      }
      expect(ratios.toSorted((a, b) => a - b)[Math.floor(ratios.length / 2)]).toBeGreaterThanOrEqual(LEAST_RATIO);
    },
    LIMIT_MS,
  );
});
