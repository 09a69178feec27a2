/** What the decoding tests share: a vocabulary, complete options, and recorded answers of the real libraries. */
import { existsSync, readFileSync } from "node:fs";
import {
  resolveOptions,
  type DecodingOptions,
  type DecodingVocabulary,
  type GenerationOptions,
} from "../../../src/decode/options.ts";

/** Tokens "t0" ... "t9"; t0 unknown, t1 begins, t2 ends. */
export const TEN_TOKENS: DecodingVocabulary = {
  vocabSize: 10,
  unkTokenId: 0,
  bosTokenId: 1,
  endTokenIds: [2],
  penalizePrompt: true,
  tokenToId: (token) => (/^t[0-9]$/.test(token) ? Number(token[1]) : undefined),
};

/** Complete options for a vocabulary of ten tokens; new tokens only, unless the test says otherwise. */
export function tenTokenOptions(options: GenerationOptions = {}): DecodingOptions {
  return resolveOptions({ includePromptInResult: false, ...options }, TEN_TOKENS, 0);
}

const FAMILIES = new URL("../../../../shared/models/families/", import.meta.url);

/** Whether the recorded checkpoints lie beside the checkout; they are no part of it. */
export const hasFamilies = existsSync(FAMILIES);

/** Answers of transformers to the four prompts of one checkpoint. */
export interface Recorded {
  readonly prompts: readonly (readonly number[])[];
  readonly lastLogits: readonly (readonly number[])[];
  readonly greedy: { readonly ids: readonly (readonly number[])[] };
  readonly repetitionPenalty: { readonly penalty: number; readonly ids: readonly (readonly number[])[] };
  readonly noRepeatNgram: { readonly size: number; readonly ids: readonly (readonly number[])[] };
}

export function readRecorded(family: string): Recorded {
  return JSON.parse(readFileSync(new URL(`${family}/expected.json`, FAMILIES), "utf8")) as Recorded;
}

/** One call of CTranslate2's Generator and its answer. */
export interface RecordedCall {
  readonly method: string;
  readonly input: unknown;
  readonly options: Readonly<Record<string, unknown>>;
  readonly output: unknown;
}

export function readRecordedCalls(family: string): readonly RecordedCall[] {
  const text = readFileSync(new URL(`${family}/ct2-expected.json`, FAMILIES), "utf8");
  return (JSON.parse(text) as { cases: RecordedCall[] }).cases;
}
