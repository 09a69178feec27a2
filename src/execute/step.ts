/**
 * What the leader tells the followers: one command at a time, broadcast before each thing that all ranks do together.
 * A command is JSON; the largest is a prefill chunk of some hundred token ids.
 */
import type { MeasuredCalls } from "../collective/native.ts";
import { InternalError } from "../errors.ts";
import { COMPUTE_TYPES, type ComputeOptions, type ComputeType } from "../model/compute-type.ts";

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
  | { readonly kind: "measure"; readonly calls: MeasuredCalls }
  /** Every rank tells where the time of its steps went. */
  | { readonly kind: "profile"; readonly model: number }
  /** Every rank reports its memory and the time it spent in collectives. */
  | { readonly kind: "report" };

export function encodeCommand(command: Command): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(command));
}

/** @throws {InternalError} when this is no command */
export function decodeCommand(message: Uint8Array): Command {
  const text = new TextDecoder().decode(message);
  const command = parseJson(text);
  if (isCommand(command)) return command;
  throw new InternalError(
    `The leader's command is not understood: ${text.slice(0, 80)}${text.length > 80 ? "..." : ""}. ` +
      "Do all ranks run the same build of shardrun?",
  );
}

/** Undefined where the text is no JSON. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

type Fields = Readonly<Record<string, unknown>>;

const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0;
const isCounts = (value: unknown): boolean => Array.isArray(value) && value.every(isCount);
const isFields = (value: unknown): value is Fields => typeof value === "object" && value !== null;
const areCounts = (fields: Fields, ...names: readonly string[]): boolean =>
  names.every((name) => isCount(fields[name]));

/** What the rank then does with the numbers checks their ranges; here it is seen that they are numbers at all. */
function isCommand(value: unknown): value is Command {
  if (!isFields(value)) return false;
  switch (value["kind"] as Command["kind"]) {
    case "load":
      return isCount(value["model"]) && isSpecification(value["specification"]);
    case "step":
      return isCount(value["model"]) && isStep(value["step"]);
    case "moveRow":
      return isCount(value["model"]) && isFields(value["move"]) && areCounts(value["move"], "from", "to", "numTokens");
    case "unload":
    case "profile":
      return isCount(value["model"]);
    case "measure":
      return isFields(value["calls"]) && areCounts(value["calls"], "numBytes", "numCalls", "nanoseconds", "numRanks");
    case "report":
      return true;
    default:
      return false;
  }
}

function isStep(step: unknown): boolean {
  if (!isFields(step) || !areCounts(step, "firstRow") || !isCounts(step["pastLengths"])) return false;
  const { inputIds, pastLengths, positions, want } = step as { inputIds: unknown; pastLengths: number[] } & Fields;
  if (!Array.isArray(inputIds) || !inputIds.every(isCounts) || inputIds.length !== pastLengths.length) return false;
  const [{ length: numTokens } = [], ...others] = inputIds as number[][];
  return (
    numTokens > 0 &&
    others.every(({ length }) => length === 1 && numTokens === 1) &&
    isCounts(positions) &&
    (positions as number[]).every((position) => position < numTokens) &&
    ["nothing", "argmax", "logits"].includes(want as string)
  );
}

function isSpecification(specification: unknown): boolean {
  if (!isFields(specification)) return false;
  const { directory, rankWeights = [], cacheLimitBytes = 0, computeType = "default", blockSize = 0 } = specification;
  return (
    typeof directory === "string" &&
    areCounts(specification, "maxContext", "numRows", "intraThreads") &&
    ["verify", "profile", "cache"].every((name) => typeof specification[name] === "boolean") &&
    Array.isArray(rankWeights) &&
    rankWeights.every((weight) => typeof weight === "number" && weight > 0) &&
    isCount(cacheLimitBytes) &&
    isCount(blockSize) &&
    COMPUTE_TYPES.includes(computeType as ComputeType)
  );
}
