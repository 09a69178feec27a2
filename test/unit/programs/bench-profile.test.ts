/** A trace of two ranks, made up, whose every microsecond is known: how decode steps are divided, printed, and drawn. */
import { expect, test } from "@jest/globals";
import type { RankProfile, StepProfile } from "../../../src/execute/profile.ts";
import { divideSteps, printStepTable } from "../../../src/programs/bench-profile.ts";
import { describeChromeTrace } from "../../../src/programs/chrome-trace.ts";

const NAMES = ["FusedMatMul", "AllReduce", "Mul"];

/** A decode step of 1000 us at `at`: 200 before the run, a product of `product`, an allReduce until 600, and 40 for a Mul; the run ends at 700. */
function step(at: number, product: number, numTokens = 1): StepProfile {
  return {
    numTokens,
    beginUs: at,
    endUs: at + 750,
    runBeginUs: at + 200,
    runEndUs: at + 700,
    nodes: [
      [0, at + 200, product],
      [1, at + 200 + product, 400 - product],
      [2, at + 650, 40],
    ],
  };
}

function profile(rank: number, beginUs: number, product: number): RankProfile {
  const steps = [step(0, 100, 16), ...[1000, 2000, 3000].map((at) => step(at, product))];
  return { rank, host: `host${rank}`, beginUs, names: NAMES, steps };
}

/** Rank 1's product takes longer, so rank 0 waits for it. */
const PROFILES = [profile(0, 5_000_000, 100), profile(1, 5_000_000, 350)];

test("the time from one decode step to the next is divided completely", () => {
  expect(divideSteps(PROFILES, "decode")).toEqual({
    phase: "decode",
    numSteps: 2,
    msPerStep: [1, 1],
    rows: [
      { name: "FusedMatMul", kind: "op", msPerStep: [0.1, 0.35] },
      { name: "Mul", kind: "op", msPerStep: [0.04, 0.04] },
      { name: "collectives", kind: "collective", msPerStep: [0.05, 0.05] },
      { name: "waiting for other ranks", kind: "wait", msPerStep: [0.25, 0] },
      { name: "onnxruntime, between nodes", kind: "onnxruntime", msPerStep: [0.06, 0.06] },
      { name: "logits made whole", kind: "logits", msPerStep: [0.05, 0.05] },
      { name: "scheduling, between steps", kind: "scheduling", msPerStep: [0.45, 0.45] },
    ],
  });
});

test("the table of one rank", () => {
  expect(printStepTable(divideSteps(PROFILES.slice(0, 1), "decode"))).toBe(
    [
      "Milliseconds per decode step, mean of 2:",
      "                            rank 0",
      "FusedMatMul                  0.100  10.0 %",
      "Mul                          0.040   4.0 %",
      "collectives                  0.300  30.0 %",
      "waiting for other ranks      0.000   0.0 %",
      "onnxruntime, between nodes   0.060   6.0 %",
      "logits made whole            0.050   5.0 %",
      "scheduling, between steps    0.450  45.0 %",
      "from step to step            1.000   100 %",
    ].join("\n"),
  );
});

test("a prompt's pass is divided from its beginning to its end", () => {
  expect(printStepTable(divideSteps(PROFILES.slice(0, 1), "prefill"))).toBe(
    [
      "Milliseconds per pass over a prompt, mean of 1:",
      "                            rank 0",
      "FusedMatMul                  0.100  13.3 %",
      "Mul                          0.040   5.3 %",
      "collectives                  0.300  40.0 %",
      "waiting for other ranks      0.000   0.0 %",
      "onnxruntime, between nodes   0.060   8.0 %",
      "logits made whole            0.050   6.7 %",
      "scheduling, between steps    0.200  26.7 %",
      "the whole pass               0.750   100 %",
    ].join("\n"),
  );
});

test("the Chrome trace has a process per rank, all on one clock that begins with the first step", () => {
  const late = { ...PROFILES[1]!, beginUs: 5_000_300 };
  const { traceEvents } = JSON.parse(describeChromeTrace([PROFILES[0]!, late])) as { traceEvents: object[] };
  const ofRank1 = traceEvents.filter((event) => (event as { pid: number }).pid === 1);
  expect(ofRank1.slice(0, 6)).toEqual([
    { ph: "M", pid: 1, tid: 0, name: "process_name", args: { name: "rank 1 (host1)" } },
    { ph: "M", pid: 1, tid: 0, name: "thread_name", args: { name: "steps" } },
    { ph: "M", pid: 1, tid: 1, name: "thread_name", args: { name: "graph" } },
    { ph: "X", pid: 1, tid: 0, name: "prefill of 16", ts: 300, dur: 750 },
    { ph: "X", pid: 1, tid: 0, name: "onnxruntime", ts: 500, dur: 500 },
    { ph: "X", pid: 1, tid: 1, name: "FusedMatMul", ts: 500, dur: 100 },
  ]);
  expect(ofRank1).toHaveLength(3 + 4 * 5);
});
