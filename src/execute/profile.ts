/**
 * Where one rank's time goes: onnxruntime's own trace says when each node of the graph ran, this rank's engine when each step did.
 * Both are laid on rank 0's wall clock, so that all ranks share one axis.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Session } from "../collective/native.ts";
import { InternalError } from "../errors.ts";
import { readClockUs } from "./clock.ts";

/** A node of the graph that ran: its op type, as an index into the names. */
export type NodeSpan = readonly [name: number, beginUs: number, durationUs: number];

/** One forward pass on one rank; all times count from the profile's beginUs. */
export interface StepProfile {
  /** New tokens of each row; 1 in a decode step. */
  readonly numTokens: number;
  /** From the command to the result. */
  readonly beginUs: number;
  readonly endUs: number;
  /** Of these, inside onnxruntime. */
  readonly runBeginUs: number;
  readonly runEndUs: number;
  /** In the order in which they ran. */
  readonly nodes: readonly NodeSpan[];
}

export interface RankProfile {
  readonly rank: number;
  readonly host: string;
  /** Microseconds of rank 0's wall clock. */
  readonly beginUs: number;
  readonly names: readonly string[];
  readonly steps: readonly StepProfile[];
}

/** What matters of an event of onnxruntime's trace. */
interface TraceEvent {
  readonly cat: string;
  readonly name: string;
  readonly ts: number;
  readonly dur: number;
  readonly args?: { readonly op_name?: string };
}

/** Follows one session from its creation to finish(). */
export class Profiler {
  readonly #directory = mkdtempSync(join(tmpdir(), "shardrun-profile-"));
  readonly #steps: { numTokens: number; beginUs: number; endUs: number }[] = [];

  /** For the session: what its trace file's name begins with. */
  get prefix(): string {
    return join(this.#directory, "trace");
  }

  /** A step of this rank has ended now. */
  noteStep(numTokens: number, beginUs: number): void {
    this.#steps.push({ numTokens, beginUs, endUs: readClockUs() });
  }

  /**
   * Ends the session's trace.
   * @param offsetUs by how much this host's clock is ahead of rank 0's
   */
  async finish(session: Session, rank: number, host: string, offsetUs: number): Promise<RankProfile> {
    const { path, startMicroseconds } = await session.endProfiling();
    const events = JSON.parse(readFileSync(path, "utf8")) as TraceEvent[];
    const runs = events.filter(({ name }) => name === "model_run");
    if (runs.length !== this.#steps.length) {
      throw new InternalError(`onnxruntime traced ${runs.length} runs of ${this.#steps.length} steps on rank ${rank}.`);
    }
    const nodes = events.filter(({ cat, name }) => cat === "Node" && name.endsWith("_kernel_time"));
    const names = [...new Set(nodes.map(nameOf))];
    const steps = this.#steps.map((step, index): StepProfile => {
      const run = runs[index]!;
      return {
        numTokens: step.numTokens,
        beginUs: step.beginUs - startMicroseconds,
        endUs: step.endUs - startMicroseconds,
        runBeginUs: run.ts,
        runEndUs: run.ts + run.dur,
        nodes: nodes
          .filter(({ ts }) => ts >= run.ts && ts < run.ts + run.dur)
          .map((node) => [names.indexOf(nameOf(node)), node.ts, node.dur]),
      };
    });
    return { rank, host, beginUs: startMicroseconds - offsetUs, names, steps };
  }

  close(): void {
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

function nameOf({ args }: TraceEvent): string {
  return args?.op_name ?? "unknown";
}
