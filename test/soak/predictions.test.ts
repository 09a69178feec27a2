/**
 * How near `plan --predict` comes to what the predicted ranks then do: hosts that share this machine, on links of limited rates.
 * Prints rows; the table of docs/performance.md has those of one case in one. Needs a machine that does nothing else.
 */
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
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
const MODELS = useTemporaryDirectory();

const SHAPES: Readonly<Record<string, Record<string, unknown>>> = {
  ...BENCH_CONFIGS,
  "llama-15m": {
    ...BENCH_CONFIGS["llama-160m"],
    hidden_size: 288,
    intermediate_size: 768,
    num_hidden_layers: 6,
    num_attention_heads: 6,
    num_key_value_heads: 6,
  },
};

const ON_THREE = { hosts: "hosta:1,hostb:1,hostc:1", numRanks: [2, 3] };
const ON_TWO = { hosts: "hosta:2,hostb:2", numRanks: [4] };
/** What passes at once: one packet on a link like a wire, else what 5 ms send. */
const BURSTS = { "1000": [], "100": [], "100, like a wire": [PACKET_BYTES] } as const;

interface Case {
  readonly shape: string;
  readonly type: "float32" | "int8";
  readonly link: keyof typeof BURSTS;
  readonly hosts: string;
  /** How many ranks are predicted and measured. */
  readonly numRanks: readonly number[];
}

describeWithCluster("three hosts that share this machine", () => {
  let cluster: Cluster;
  beforeAll(async () => {
    cluster = await startCluster({ numHosts: 3, directories: [MODELS] });
  }, CLUSTER_START_LIMIT_MS);
  afterAll(() => cluster.stop());

  function provide(shape: string): string {
    const directory = join(MODELS, shape);
    if (!existsSync(directory)) {
      mkdirSync(directory);
      planRandomCheckpoint(shape, SHAPES[shape]!).write(directory);
    }
    return directory;
  }

  async function run(
    program: string,
    { shape, type, hosts }: Case,
    numRanks: number,
    ...args: readonly string[]
  ): Promise<unknown> {
    const what = ["--model", provide(shape), "--compute-type", type, "--intra-threads", "1", "--json"];
    const command = [process.execPath, COMMAND, program, "-np", String(numRanks), "-H", hosts, ...what, ...args];
    const { exitCode, stdout, stderr } = await cluster.run("hosta", command);
    if (exitCode !== 0) throw new Error(`${command.join(" ")} ended with ${exitCode}: ${stderr}`);
    return JSON.parse(stdout);
  }

  describe.each<Case>([
    { shape: "llama-15m", type: "float32", link: "100", ...ON_THREE },
    { shape: "llama-160m", type: "float32", link: "1000", ...ON_THREE },
    { shape: "llama-160m", type: "float32", link: "100", ...ON_THREE },
    { shape: "llama-160m", type: "float32", link: "100, like a wire", ...ON_THREE },
    { shape: "llama-160m", type: "float32", link: "1000", ...ON_TWO },
    { shape: "llama-160m", type: "int8", link: "1000", ...ON_THREE },
    { shape: "llama-160m", type: "int8", link: "100, like a wire", ...ON_THREE },
    { shape: "smollm2-135m", type: "float32", link: "100", ...ON_THREE },
    { shape: "smollm2-135m", type: "int8", link: "1000", ...ON_THREE },
    { shape: "llama-1b", type: "int8", link: "100, like a wire", ...ON_THREE },
  ])("$shape $type, $link Mbit/s, $hosts", (each) => {
    test(
      "is predicted",
      async () => {
        const { shape, type, link, hosts, numRanks } = each;
        for (const { name } of cluster.hosts) cluster.limitRate(name, Number.parseInt(link), ...BURSTS[link]);
        const errors = new Map<number, number[]>(numRanks.map((count) => [count, []]));
        for (let round = 0; round < NUM_ROUNDS; round++) {
          const report = await run("plan", each, numRanks.at(-1)!, "--predict");
          const { predictions } = report as { readonly predictions: readonly Prediction[] };
          for (const count of numRanks) {
            const measured = await run("bench", each, count, "--new-tokens", "48");
            const { decodeTokensPerSecond } = measured as { readonly decodeTokensPerSecond: number };
            const { tokensPerSecond, stepSeconds, waitingSeconds } = predictions[count - 1]!;
            const error = tokensPerSecond / decodeTokensPerSecond - 1;
            errors.get(count)!.push(error);
            const cells = [
              shape,
              type,
              hosts === ON_TWO.hosts ? "2 x 2" : `${count} x 1`,
              link,
              tokensPerSecond.toFixed(1),
              decodeTokensPerSecond.toFixed(1),
              `${(100 * error).toFixed(0)} %`,
              `${((100 * waitingSeconds) / stepSeconds).toFixed(0)} %`,
            ];
            process.stdout.write(`| ${cells.join(" | ")} |\n`);
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
});
