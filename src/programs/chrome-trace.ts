/**
 * What the ranks traced as one file for chrome://tracing or https://ui.perfetto.dev: a process per rank, all on one clock, with
 * one row for its steps and one for the nodes of its graph.
 * @see the "Trace Event Format" document of the Chromium project: complete events ("X"), metadata events ("M")
 */
import type { RankProfile } from "../execute/profile.ts";

const STEPS_ROW = 0;
const NODES_ROW = 1;

/** JSON text. Times are microseconds after the first rank's first. */
export function describeChromeTrace(profiles: readonly RankProfile[]): string {
  const originUs = Math.min(...profiles.map(({ beginUs, steps }) => beginUs + (steps[0]?.beginUs ?? 0)));
  return JSON.stringify({ traceEvents: profiles.flatMap((profile) => describeRank(profile, originUs)) });
}

function describeRank({ rank, host, beginUs, names, steps }: RankProfile, originUs: number): object[] {
  const shift = beginUs - originUs;
  const span = (tid: number, name: string, fromUs: number, durationUs: number): object => ({
    ph: "X",
    pid: rank,
    tid,
    name,
    ts: fromUs + shift,
    dur: durationUs,
  });
  const label = (name: string, tid: number, value: string): object => ({
    ph: "M",
    pid: rank,
    tid,
    name,
    args: { name: value },
  });
  return [
    label("process_name", STEPS_ROW, `rank ${rank} (${host})`),
    label("thread_name", STEPS_ROW, "steps"),
    label("thread_name", NODES_ROW, "graph"),
    ...steps.flatMap((step) => [
      span(
        STEPS_ROW,
        step.numTokens === 1 ? "decode" : `prefill of ${step.numTokens}`,
        step.beginUs,
        step.endUs - step.beginUs,
      ),
      span(STEPS_ROW, "onnxruntime", step.runBeginUs, step.runEndUs - step.runBeginUs),
      ...step.nodes.map(([name, fromUs, durationUs]) => span(NODES_ROW, names[name]!, fromUs, durationUs)),
    ]),
  ];
}
