/**
 * How near `plan --predict` comes to what the predicted ranks then do: hosts that share this machine, on links of limited rates.
 * Prints rows of the table in docs/performance.md. Needs an idle machine.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { planRandomCheckpoint } from "../../src/model/random-checkpoint.ts";
import type { Prediction } from "../../src/partition/predict.ts";
import { BENCH_CONFIGS } from "../../src/programs/bench-configs.ts";
import { type Cluster, CLUSTER_START_LIMIT_MS, describeWithCluster, startCluster } from "../support/cluster.ts";
import { COMMAND } from "../support/run-shardrun.ts";
import { useTemporaryDirectory } from "../support/temporary-directory.ts";

const NUM_ROUNDS = Number(process.env["SHARDRUN_TEST_REPEATS"] ?? 3);
const LARGEST_ERROR = 0.2;
const LIMIT_MS = 600_000;
const PACKET_BYTES = 1540;
const MODEL = join(useTemporaryDirectory(), "llama-160m");

/** Where ranks run, and how many of them are predicted and measured. */
interface Case {
  readonly megabits: number;
  /** What passes at once. */
  readonly bursts: "of 5 ms" | "of a packet";
  readonly hosts: string;
  readonly numRanks: readonly number[];
}

describeWithCluster("three hosts that share this machine", () => {
  let cluster: Cluster;
  beforeAll(async () => {
    mkdirSync(MODEL);
    planRandomCheckpoint("test", BENCH_CONFIGS["llama-160m"]!).write(MODEL);
    cluster = await startCluster({ numHosts: 3, directories: [MODEL] });
  }, CLUSTER_START_LIMIT_MS);
  afterAll(() => cluster.stop());

  async function run(program: string, hosts: string, numRanks: number, ...args: readonly string[]): Promise<unknown> {
    const common = ["-np", String(numRanks), "-H", hosts, "--model", MODEL, "--intra-threads", "1", "--json"];
    const command = [process.execPath, COMMAND, program, ...common, ...args];
    const { exitCode, stdout, stderr } = await cluster.run("hosta", command);
    if (exitCode !== 0) throw new Error(`${command.join(" ")} ended with ${exitCode}: ${stderr}`);
    return JSON.parse(stdout);
  }

  test.each<Case>([
    { megabits: 1000, bursts: "of 5 ms", hosts: "hosta:1,hostb:1,hostc:1", numRanks: [2, 3] },
    { megabits: 100, bursts: "of 5 ms", hosts: "hosta:1,hostb:1,hostc:1", numRanks: [2, 3] },
    { megabits: 100, bursts: "of a packet", hosts: "hosta:1,hostb:1,hostc:1", numRanks: [2, 3] },
    { megabits: 1000, bursts: "of 5 ms", hosts: "hosta:2,hostb:2", numRanks: [4] },
  ])(
    "$megabits Mbit/s, bursts $bursts, $hosts",
    async ({ megabits, bursts, hosts, numRanks }) => {
      for (const { name } of cluster.hosts) {
        cluster.limitRate(name, megabits, ...(bursts === "of a packet" ? [PACKET_BYTES] : []));
      }
      const errors = new Map<number, number[]>(numRanks.map((count) => [count, []]));
      for (let round = 0; round < NUM_ROUNDS; round++) {
        const report = await run("plan", hosts, numRanks.at(-1)!, "--predict", "--one-machine");
        const { predictions } = report as { readonly predictions: readonly Prediction[] };
        for (const count of numRanks) {
          const measured = await run("bench", hosts, count, "--new-tokens", "48");
          const { decodeTokensPerSecond } = measured as { readonly decodeTokensPerSecond: number };
          const { tokensPerSecond, stepSeconds, waitingSeconds } = predictions[count - 1]!;
          const error = tokensPerSecond / decodeTokensPerSecond - 1;
          errors.get(count)!.push(error);
          process.stdout.write(
            `${hosts}, ${count} ranks, ${megabits} Mbit/s, bursts ${bursts}: ` +
              `predicted ${tokensPerSecond.toFixed(1)} tokens/s (waiting ${((100 * waitingSeconds) / stepSeconds).toFixed(0)} %), ` +
              `measured ${decodeTokensPerSecond.toFixed(1)}, ${(100 * error).toFixed(1)} % off\n`,
          );
        }
      }
      for (const ofCount of errors.values()) {
        const median = ofCount.toSorted((a, b) => a - b)[Math.floor(ofCount.length / 2)]!;
        expect(Math.abs(median)).toBeLessThanOrEqual(LARGEST_ERROR);
      }
    },
    LIMIT_MS,
  );
});
