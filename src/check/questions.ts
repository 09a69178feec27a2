/**
 * What `shardrun check` asks on each host, and what it hears: the words of a conversation in lines of JSON between inquiry.ts on
 * the launcher's host and answer.ts, which an agent starts like a rank.
 */
import type { FileFingerprint } from "../model/fingerprint.ts";

/** Each question with its answer; "failure" is a sentence for people. */
export interface Dialogue {
  /** What is installed there, and whether it works. */
  readonly software: {
    readonly asked: object;
    readonly answer: {
      /** process.version */
      readonly nodeVersion: string;
      /** Whether the addon loads and opens onnxruntime. */
      readonly runtime: { readonly version: string } | { readonly failure: string };
    };
  };
  /** Whether a model is there. */
  readonly model: {
    readonly asked: { readonly directory: string };
    readonly answer: { readonly files: readonly FileFingerprint[] } | { readonly failure: string };
  };
  readonly clock: {
    readonly asked: object;
    /** Since the epoch. */
    readonly answer: { readonly nowMs: number };
  };
  /** By which interface and address packets leave for another host. */
  readonly route: {
    readonly asked: { readonly to: string };
    readonly answer: { readonly address: string; readonly interface: string } | { readonly failure: string };
  };
  /** To wait at a free port for those who ask to `reach` it. */
  readonly listen: {
    readonly asked: { readonly address: string };
    readonly answer: { readonly port: number } | { readonly failure: string };
  };
  /** Whether a connection to another host's port comes about, and how long a byte takes there and back. */
  readonly reach: {
    readonly asked: { readonly address: string; readonly port: number; readonly limitMs: number };
    readonly answer: { readonly roundTripMs: number } | { readonly failure: string };
  };
}

export type QuestionKind = keyof Dialogue;
export type Asked<Kind extends QuestionKind> = Dialogue[Kind]["asked"];
export type Answer<Kind extends QuestionKind> = Dialogue[Kind]["answer"];

/** A line to the host. */
export interface QuestionLine {
  readonly id: number;
  readonly kind: QuestionKind;
  readonly asked: Asked<QuestionKind>;
}

/** A line from the host. */
export interface AnswerLine {
  readonly id: number;
  readonly answer: unknown;
}
