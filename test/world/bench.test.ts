/** `shardrun bench` on the bundled model, two ranks: what it prints for programs, and where it says that the time went. */
import { expect, test } from "@jest/globals";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { StepTable } from "../../src/programs/bench-profile.ts";
import { runNode, runShardrun } from "../support/run-shardrun.ts";
import { useTemporaryDirectory } from "../support/temporary-directory.ts";

const directory = useTemporaryDirectory();
const SIZES = ["--prompt-tokens", "8", "--new-tokens", "6", "--repeat", "1", "--intra-threads", "1"];
const INDEX = pathToFileURL(join(import.meta.dirname, "../../dist/index.js")).href;
const MODEL = join(import.meta.dirname, "../../models/demo-stories");

test("bench --profile --json: figures, and both kinds of steps divided; --trace: every rank on one clock", async () => {
  const trace = join(directory, "trace.json");
  const args = ["bench", "-np", "2", "--oversubscribe", ...SIZES, "--json", "--profile", "--trace", trace];
  const { exitCode, stdout, stderr } = await runShardrun(args);
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
  const positive = expect.any(Number) as unknown;
  const report = JSON.parse(stdout) as { profile: StepTable[] };
  expect(report).toMatchObject({
    promptTokens: 8,
    newTokens: 6,
    numRanks: 2,
    intraThreads: 1,
    prefillTokensPerSecond: positive,
    decodeTokensPerSecond: positive,
    collectiveShare: positive,
    weightBytesPerRank: [positive, positive],
    privateBytesPerRank: [positive, positive],
    loadSeconds: positive,
  });

  expect(report.profile.map(({ phase }) => phase)).toEqual(["prefill", "decode"]);
  for (const { msPerStep, rows } of report.profile) {
    for (const rank of [0, 1]) {
      const sum = rows.reduce((total, row) => total + row.msPerStep[rank]!, 0);
      expect(sum).toBeCloseTo(msPerStep[rank]!, 6);
      expect(Math.min(...rows.map((row) => row.msPerStep[rank]!))).toBeGreaterThanOrEqual(0);
    }
    expect(rows.map(({ name }) => name)).toEqual(expect.arrayContaining(["CachedAttention", "collectives"]));
  }

  const { traceEvents } = JSON.parse(readFileSync(trace, "utf8")) as {
    traceEvents: { ph: string; pid: number; tid: number; name: string; ts: number; dur: number }[];
  };
  const spans = traceEvents.filter(({ ph }) => ph === "X");
  // The last allReduce of both ranks ends when the slower one has come, so they overlap on a common clock.
  const [first, second] = [0, 1].map((rank) =>
    spans.filter(({ pid, name }) => pid === rank && name === "AllReduce").at(-1)!,
  );
  expect(Math.max(first!.ts, second!.ts)).toBeLessThanOrEqual(
    Math.min(first!.ts + first!.dur, second!.ts + second!.dur),
  );
  expect(Math.min(...spans.map(({ ts, dur }) => Math.min(ts, dur)))).toBeGreaterThanOrEqual(0);
  expect(spans.filter(({ pid, name }) => pid === 1 && name === "decode").length).toBeGreaterThanOrEqual(6);
});

test("a profile is read once, and only of a model that was loaded for it", async () => {
  const script = `
    import { Generator } from ${JSON.stringify(INDEX)};
    for (const profile of [false, true]) {
      const generator = await Generator.load(${JSON.stringify(MODEL)}, { profile, intraThreads: 1 });
      await generator.generateBatch([[1]], { maxLength: 3 });
      for (let call = 0; call < 2; call++) {
        const outcome = await generator.readProfile().catch((error) => error);
        console.log(Array.isArray(outcome) ? outcome.length + " rank" : outcome.code + " " + outcome.message);
      }
      await generator.unloadModel();
    }`;
  const { stdout, stderr } = await runNode(["--input-type=module", "-e", script]);
  const refusal = "ERR_SHARDRUN_USAGE readProfile serves once, for a model that was loaded with profile: true.";
  expect({ stdout, stderr }).toEqual({ stdout: [refusal, refusal, "1 rank", refusal, ""].join("\n"), stderr: "" });
});
