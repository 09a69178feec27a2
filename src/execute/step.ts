/**
 * What the leader tells the followers: one command at a time, broadcast before each thing that all ranks do together.
 * A command is JSON; the largest is a prefill chunk of some hundred token ids.
 */
import type { ComputeOptions } from "../model/compute-type.ts";

/** How a model is loaded; the same on every rank. */
export interface ModelSpecification extends ComputeOptions {
  readonly directory: string;
  /** Positions per cache row, prompt and new tokens together; at most as many as the model has. */
  readonly maxContext: number;
  /** Cache rows: sequences that can be decoded together. */
  readonly numRows: number;
  /** Threads of each rank's session. */
  readonly intraThreads: number;
  /** How much each rank takes, compared with the others; undefined: all the same. */
  readonly rankWeights?: readonly number[] | undefined;
  /** Compare a hash of every step's hidden states over the ranks. */
  readonly verify: boolean;
  /** Trace every node of every step, for the "profile" command. */
  readonly profile: boolean;
  /** Whether converted weights are kept for the next start. */
  readonly cache: boolean;
  /** Most bytes of each host's cache; undefined: as the host's environment says. */
  readonly cacheLimitBytes: number | undefined;
}

/** One forward pass: rows [firstRow, firstRow + B) each get S new tokens. */
export interface Step {
  readonly firstRow: number;
  /** [B][S] token ids; B > 1 only with S = 1 (one sequence at a time is prefilled into its own row). */
  readonly inputIds: readonly (readonly number[])[];
  /** [B] tokens that each row already holds. */
  readonly pastLengths: readonly number[];
  /** [M] indices into S whose logits are wanted. */
  readonly positions: readonly number[];
  /** What the leader needs to see of the logits: the best token of each position, all of them, or nothing. */
  readonly want: "nothing" | "argmax" | "logits";
}

/** Row `from` becomes row `to`; only its first numTokens positions hold anything. */
export interface RowMove {
  readonly from: number;
  readonly to: number;
  readonly numTokens: number;
}

export type Command =
  | { readonly kind: "load"; readonly model: number; readonly specification: ModelSpecification }
  | { readonly kind: "step"; readonly model: number; readonly step: Step }
  | { readonly kind: "moveRow"; readonly model: number; readonly move: RowMove }
  | { readonly kind: "unload"; readonly model: number }
  /** All ranks time their collectives on messages of this size. */
  | { readonly kind: "measure"; readonly numBytes: number; readonly numCalls: number }
  /** Every rank tells where the time of its steps went. */
  | { readonly kind: "profile"; readonly model: number }
  /** Every rank reports its memory and the time it spent in collectives. */
  | { readonly kind: "report" };

export function encodeCommand(command: Command): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(command));
}

export function decodeCommand(message: Uint8Array): Command {
  return JSON.parse(new TextDecoder().decode(message)) as Command;
}
