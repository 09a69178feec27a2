/**
 * What the script's thread and the engine's thread say to each other: requests with a number, replies and events that carry it.
 * Only plain data crosses; errors are taken apart here and put together again with their class.
 */
import type { MeasuredCalls } from "../collective/native.ts";
import type { DecodingOptions } from "../decode/options.ts";
import * as errors from "../errors.ts";
import type { RankProfile } from "../execute/profile.ts";
import type { HostTransfer } from "../execute/provide-model.ts";
import type { MeasuredCollectives, RankReport } from "../execute/rank.ts";
import type { ModelSpecification } from "../execute/step.ts";
import type { StepStatistics } from "./statistics.ts";

/** What Generator.load asks of the engine. */
export interface LoadRequest extends Omit<ModelSpecification, "numRows" | "rankWeights"> {
  readonly vocabSize: number;
}

/** One forward pass over whole sequences, for scores and logits. */
export interface ForwardRequest {
  readonly model: number;
  readonly sequences: readonly (readonly number[])[];
}

export interface GenerateRequest {
  readonly model: number;
  readonly prompts: readonly (readonly number[])[];
  readonly options: DecodingOptions;
  /** Send a "token" event for each new token. */
  readonly stream: boolean;
}

export type Request =
  | { readonly kind: "load"; readonly load: LoadRequest }
  | { readonly kind: "generate"; readonly generate: GenerateRequest }
  | { readonly kind: "forward"; readonly forward: ForwardRequest }
  | { readonly kind: "unload"; readonly model: number }
  | { readonly kind: "measure"; readonly calls: MeasuredCalls }
  | { readonly kind: "profile"; readonly model: number }
  | { readonly kind: "report" };

/** What each request resolves to. */
export interface Replies {
  load: { readonly model: number; readonly transfers: readonly HostTransfer[] };
  generate: { readonly sequences: readonly GeneratedSequence[]; readonly statistics: StepStatistics };
  forward: { readonly logits: readonly Float32Array[] };
  unload: undefined;
  measure: MeasuredCollectives;
  profile: readonly RankProfile[];
  report: readonly RankReport[];
}

/** One hypothesis of one prompt. */
export interface GeneratedSequence {
  readonly promptIndex: number;
  readonly hypothesis: number;
  /** What the options ask for: with or without prompt and end token. */
  readonly tokenIds: readonly number[];
  /** The new tokens alone, the end token included where it came. */
  readonly generatedIds: readonly number[];
  readonly score: number | undefined;
  readonly logits: readonly Float32Array[] | undefined;
  readonly finishReason: "stop" | "length" | "cancelled";
}

/** One new token of one hypothesis, as it is chosen. */
export interface TokenEvent {
  readonly promptIndex: number;
  readonly hypothesis: number;
  readonly step: number;
  readonly tokenId: number;
  readonly logProb: number | undefined;
  readonly isLast: boolean;
}

export type ToEngine =
  | ({ readonly id: number } & Request)
  | { readonly id: number; readonly kind: "cancel" }
  | { readonly kind: "leave"; readonly exitCode: number };

export type FromEngine =
  | { readonly kind: "reply"; readonly id: number; readonly value: unknown }
  | { readonly kind: "error"; readonly id: number; readonly error: PlainError }
  | { readonly kind: "token"; readonly id: number; readonly token: TokenEvent }
  /** This rank can no longer take part; a follower's process must end. */
  | { readonly kind: "failed"; readonly error: PlainError };

/** An error as plain data. */
export interface PlainError {
  readonly name: string;
  readonly message: string;
  readonly rank: number | undefined;
  readonly host: string | undefined;
  readonly stack: string | undefined;
}

export function flattenError(error: unknown): PlainError {
  const { name, message, stack } = error instanceof Error ? error : new Error(String(error));
  const details = error instanceof errors.ShardrunError ? error : { rank: undefined, host: undefined };
  return { name, message, rank: details.rank, host: details.host, stack };
}

/** The error as it was thrown; what is not shardrun's own becomes an InternalError. */
export function reviveError({ name, message, rank, host, stack }: PlainError): errors.ShardrunError {
  const classes = new Map<string, unknown>(Object.entries(errors));
  const Class = (classes.get(name) ?? errors.InternalError) as new (
    message: string,
    details: errors.ErrorDetails,
  ) => errors.ShardrunError;
  return new Class(message, { rank, host, cause: Class === errors.InternalError ? stack : undefined });
}

/** The engine's state, readable by the script's thread without its event loop: a shared Int32Array of one. */
export const ENGINE_RUNNING = 0;
export const ENGINE_ENDED = 1;
export const ENGINE_FAILED = 2;

/** The script's thread may be waiting for this. */
export function announceEnd(state: SharedArrayBuffer, value: typeof ENGINE_ENDED | typeof ENGINE_FAILED): void {
  const shared = new Int32Array(state);
  Atomics.store(shared, 0, value);
  Atomics.notify(shared, 0);
}

/**
 * A rank that fails because of another one ends only after this while: the launcher must see the other's end first, for it
 * reports the first as the cause.
 */
export const CONSEQUENCE_DELAY_MS = 500;
