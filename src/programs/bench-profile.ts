/**
 * `shardrun bench --profile`: from what each rank traced to tables of where the time of a prompt's pass and of a decode step goes.
 * On every rank the time of a step is divided completely: op kinds, collectives inside the graph, waiting in them for the last rank
 * to come, the rest of onnxruntime, making the logits whole, and what lies before a run and between two decode steps.
 */
import type { RankProfile, StepProfile } from "../execute/profile.ts";

/** Ops that every rank runs together. */
const COLLECTIVE = /^All(Reduce|Gather)/;

/** Decode steps have one new token per row, passes of a prompt more. */
export type Phase = "prefill" | "decode";

/** Milliseconds per step, per rank in rank order. */
export interface ProfileRow {
  readonly name: string;
  readonly kind: "op" | "collective" | "wait" | "onnxruntime" | "logits" | "scheduling";
  readonly msPerStep: readonly number[];
}

export interface StepTable {
  readonly phase: Phase;
  readonly numSteps: number;
  /** From one decode step to the next, or from the beginning of a prompt's pass to its end. */
  readonly msPerStep: readonly number[];
  /** Together they are msPerStep. Ops that take longest on rank 0 first. */
  readonly rows: readonly ProfileRow[];
}

/** @param profiles one per rank, in rank order */
export function divideSteps(profiles: readonly RankProfile[], phase: Phase): StepTable {
  const waits = findWaits(profiles);
  const shares = profiles.map((profile, rank) => divideRank(profile, phase, waits[rank]!));
  const numSteps = shares[0]?.numSteps ?? 0;
  const kinds = new Map(shares.flatMap(({ parts }) => [...parts].map(([name, { kind }]) => [name, kind] as const)));
  const rows = [...kinds].map(([name, kind]): ProfileRow => ({
    name,
    kind,
    msPerStep: shares.map(({ parts }) => (parts.get(name)?.us ?? 0) / numSteps / 1000),
  }));
  const order = ["op", "collective", "wait", "onnxruntime", "logits", "scheduling"];
  rows.sort((a, b) => order.indexOf(a.kind) - order.indexOf(b.kind) || b.msPerStep[0]! - a.msPerStep[0]!);
  return { phase, numSteps, msPerStep: shares.map(({ us }) => us / numSteps / 1000), rows };
}

/** The table for people; shares are of each rank's whole time. */
export function printStepTable({ phase, numSteps, msPerStep, rows }: StepTable): string {
  const cells = rows.map(({ name, msPerStep: times }) => [
    name,
    ...times.flatMap((ms, rank) => [ms.toFixed(3), `${((100 * ms) / msPerStep[rank]!).toFixed(1)} %`]),
  ]);
  const header = ["", ...msPerStep.flatMap((_, rank) => [`rank ${rank}`, ""])];
  const total = [
    phase === "decode" ? "from step to step" : "the whole pass",
    ...msPerStep.flatMap((ms) => [ms.toFixed(3), "100 %"]),
  ];
  const table = [header, ...cells, total];
  const widths = header.map((_, column) => Math.max(...table.map((row) => row[column]!.length)));
  const lines = table.map((row) =>
    row.map((cell, column) => (column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!))).join("  "),
  );
  const step = phase === "decode" ? "decode step" : "pass over a prompt";
  return [`Milliseconds per ${step}, mean of ${numSteps}:`, ...lines.map((line) => line.trimEnd())].join("\n");
}

interface RankShares {
  readonly numSteps: number;
  readonly us: number;
  readonly parts: ReadonlyMap<string, { readonly kind: ProfileRow["kind"]; readonly us: number }>;
}

function divideRank({ names, steps }: RankProfile, phase: Phase, waits: ReadonlyMap<StepProfile, number>): RankShares {
  const parts = new Map<string, { kind: ProfileRow["kind"]; us: number }>();
  const add = (name: string, kind: ProfileRow["kind"], us: number): void => {
    const part = parts.get(name) ?? { kind, us: 0 };
    parts.set(name, { kind: part.kind, us: part.us + us });
  };
  let numSteps = 0;
  let us = 0;
  for (const [index, step] of steps.entries()) {
    const endUs = endOf(step, steps[index + 1], phase);
    if (endUs === undefined) continue;
    const runUs = step.runEndUs - step.runBeginUs;
    const waitUs = waits.get(step)!;
    let nodesUs = 0;
    let collectivesUs = 0;
    for (const [name, , durationUs] of step.nodes) {
      nodesUs += durationUs;
      if (COLLECTIVE.test(names[name]!)) collectivesUs += durationUs;
      else add(names[name]!, "op", durationUs);
    }
    add("collectives", "collective", collectivesUs - waitUs);
    add("waiting for other ranks", "wait", waitUs);
    add("onnxruntime, between nodes", "onnxruntime", runUs - nodesUs);
    add("logits made whole", "logits", step.endUs - step.runEndUs);
    add("scheduling, between steps", "scheduling", step.runBeginUs - step.beginUs + (endUs - step.endUs));
    numSteps += 1;
    us += endUs - step.beginUs;
  }
  return { numSteps, us, parts };
}

/**
 * A decode step that is followed by another lasts until that one begins, a prompt's pass until it ends: tokens are chosen between them.
 * @returns undefined for a step that does not count
 */
function endOf(step: StepProfile, next: StepProfile | undefined, phase: Phase): number | undefined {
  if (phase === "prefill") return step.numTokens > 1 ? step.endUs : undefined;
  return step.numTokens === 1 && next?.numTokens === 1 ? next.beginUs : undefined;
}

/** Per rank and step, the time in the graph's collectives until the last rank has come. Ranks meet them in the same order. */
function findWaits(profiles: readonly RankProfile[]): Map<StepProfile, number>[] {
  const waits = profiles.map(() => new Map<StepProfile, number>());
  const numSteps = Math.min(...profiles.map(({ steps }) => steps.length));
  for (let index = 0; index < numSteps; index++) {
    const collectives = profiles.map(({ beginUs, names, steps }) =>
      steps[index]!.nodes.filter(([name]) => COLLECTIVE.test(names[name]!)).map(([, nodeUs, durationUs]) => ({
        beginUs: beginUs + nodeUs,
        durationUs,
      })),
    );
    collectives.forEach((own, rank) => {
      const waitUs = own.reduce((sum, { beginUs, durationUs }, nth) => {
        const lastUs = Math.max(...collectives.map((others) => others[nth]?.beginUs ?? 0));
        return sum + Math.min(durationUs, lastUs - beginUs);
      }, 0);
      waits[rank]!.set(profiles[rank]!.steps[index]!, waitUs);
    });
  }
  return waits;
}
