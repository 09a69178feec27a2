/** `shardrun plan --predict` on the bundled model: rows that hang together, over a network that is given and one that is measured. */
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import type { MessageTimes } from "../../src/partition/collective-cost.ts";
import type { Prediction } from "../../src/partition/predict.ts";
import { runShardrun } from "../support/run-shardrun.ts";

const UNEVEN_HOSTS = join(import.meta.dirname, "../../hostfiles/uneven-hosts");

interface Report {
  readonly transport: string;
  readonly messages: MessageTimes;
  readonly predictions: readonly Prediction[];
  readonly sentence: string;
}

async function predict(...args: readonly string[]): Promise<string> {
  const { exitCode, stdout, stderr } = await runShardrun(["plan", "--predict", "--intra-threads", "1", ...args]);
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
  return stdout;
}

test("--link: the waiting is that of the network that was given, and a slow one makes a second host slower", async () => {
  const report = JSON.parse(await predict("-np", "3", "--link", "100Mbit,5ms", "--json")) as Report;
  expect(report).toMatchObject({ transport: "--link", messages: [{ bytes: 0, seconds: 5e-3 }, { bytes: 12.5e6 }] });
  const [one, two, three] = report.predictions;
  expect(one).toMatchObject({ numRanks: 1, waitingSeconds: 0 });
  // 8 allReduces of 384 bytes from each other rank; the step's command and the candidates
  expect(two!.waitingSeconds).toBeCloseTo(10 * 5e-3 + (8 * 384) / 12.5e6, 9);
  expect(three!.waitingSeconds).toBeCloseTo(10 * 5e-3 + (8 * 2 * 384) / 12.5e6, 9);
  for (const { stepSeconds, waitingSeconds, tokensPerSecond } of report.predictions) {
    expect(stepSeconds).toBeGreaterThan(waitingSeconds);
    expect(tokensPerSecond).toBeCloseTo(1 / stepSeconds, 9);
  }
  expect(two!.stepSeconds - two!.waitingSeconds).toBeLessThan(one!.stepSeconds);
  expect(report.sentence).toMatch(
    /^A second host makes it slower: \d.* tokens\/s instead of \d.*, with \d+ % of each step/,
  );
});

test("--link with a hostfile: ranks of one host share memory, a heavier host's ranks take more of the model", async () => {
  const args = ["-np", "3", "-hostfile", UNEVEN_HOSTS, "--link", "100Mbit,5ms", "--json"];
  const report = JSON.parse(await predict(...args)) as Report;
  const waitingMs = report.predictions.map(({ waitingSeconds }) => waitingSeconds * 1e3);
  expect(waitingMs[0]).toBe(0);
  const [one, two] = report.predictions;
  // Hosta's two ranks were measured together, and wait in memory; over the network they take from hostb's.
  expect(waitingMs[1]).toBeGreaterThan(0);
  expect(two!.stepSeconds).toBeGreaterThan(two!.waitingSeconds);
  const networkMs = 10 * 5 + (8 * 2 * 384) / 12.5e3;
  expect([waitingMs[2]!, waitingMs[2]! - waitingMs[1]!].map((ms) => Math.abs(ms - networkMs) < 1)).toContain(true);
  expect(one!.tokensPerSecond).toBeGreaterThan(0);
  expect(report.sentence).toMatch(/^A (second|third) rank makes it slower: /);
});

test("without --link the ranks are started, and measure what lies between them", async () => {
  const lines = (await predict("-np", "2", "--oversubscribe")).split("\n");
  expect(lines[0]).toMatch(/^shm: [\d.e+-]+ us for a small message, [\d.e+]+ MB\/s for a large one$/);
  expect(lines[2]).toMatch(/^-np +tokens\/s +ms per step +waiting$/);
  expect(lines[3]).toMatch(/^ {2}1 +[\d.]+ +[\d.]+ +0\.0 %$/);
  expect(lines[4]).toMatch(/^ {2}2 +[\d.]+ +[\d.]+ +[\d.]+ %$/);
  expect(lines[6]).toMatch(/ (slower|faster): \d/);
});
