/**
 * The cases of a golden test go in, the answers of P ranks come out; all cases of one number of ranks take one launch.
 * What the ranks run is answer-cases.mjs.
 */
import { expect } from "@jest/globals";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type {
  ForwardResult,
  GenerationResult,
  GenerationStepResult,
  LoadOptions,
  ScoringResult,
} from "../../src/index.ts";
import { runShardrun } from "../support/run-shardrun.ts";

/** What each method gives back, as JSON. */
export interface Outputs {
  generateBatch: GenerationResult[];
  generateTokens: GenerationStepResult[];
  scoreBatch: ScoringResult[];
  forwardBatch: { readonly shape: ForwardResult["shape"]; readonly data: readonly number[] };
  /** Per input, the logits after its last token. */
  lastLogits: number[][];
  /** Per input, the logits of every step of generateBatch, from one pass over what it gave. */
  logitsAtOnce: number[][][];
  /** Per text, what encode, generateBatch and decode make of it. */
  text: { readonly promptIds: number[]; readonly ids: number[]; readonly text: string }[];
}

/** One call of one method of a Generator. */
export interface Call<Method extends keyof Outputs = keyof Outputs> {
  readonly method: Method;
  readonly input: unknown;
  readonly options?: object;
}

/** The calls for one model. */
export interface Case {
  readonly model: string;
  readonly load?: LoadOptions;
  readonly calls: readonly Call[];
}

export type Answer<Output = unknown> =
  | { readonly output: Output; readonly error?: undefined }
  | { readonly error: { readonly name: string; readonly code: string; readonly message: string } };

/** Largest difference of float32 logits and log probabilities, between libraries and between numbers of ranks. */
export const TOLERANCE = 1e-4;

const SCRIPT = join(import.meta.dirname, "answer-cases.mjs");

/** Runs the cases on P ranks: per case, per call its answer. */
export async function answerCases(worldSize: number, cases: readonly Case[]): Promise<Answer[][]> {
  const directory = mkdtempSync(join(tmpdir(), "shardrun-golden-"));
  try {
    const file = join(directory, "cases.json");
    writeFileSync(file, JSON.stringify(cases));
    const args = ["-np", String(worldSize), "--oversubscribe", process.execPath, SCRIPT, file];
    const { exitCode, stdout, stderr } = await runShardrun(args, { timeoutMs: 110_000 });
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
    return JSON.parse(stdout) as Answer[][];
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** The output of a call that must have succeeded. */
export function outputOf<Method extends keyof Outputs>(answer: Answer | undefined, _method: Method): Outputs[Method] {
  if (answer === undefined || answer.error !== undefined) {
    throw new Error(`The call failed: ${JSON.stringify(answer)}`);
  }
  return answer.output as Outputs[Method];
}

/** Expects two lists of numbers to differ by no more than the tolerance anywhere. */
export function expectClose(actual: readonly number[], expected: readonly number[], tolerance = TOLERANCE): void {
  expect(actual).toHaveLength(expected.length);
  const differences = actual.map((value, index) => Math.abs(value - expected[index]!));
  // NaN is no maximum: it must not pass.
  expect(
    differences.every((difference) => difference <= tolerance) ? "close" : `differs by ${Math.max(...differences)}`,
  ).toBe("close");
}
