/**
 * Input as a stranger, a full disk or a tired hand makes it: what is right, with mistakes in it. A fuzz test asserts that
 * what reads it either understands it or refuses it in words, and does nothing else.
 */
import { expect } from "@jest/globals";
import fc from "fast-check";
import { ShardrunError } from "../../src/errors.ts";

const GIVEN_RUNS = process.env["SHARDRUN_FUZZ_RUNS"];
const FUZZ_RUNS = Number(GIVEN_RUNS ?? 2000);

/**
 * The same cases every time, so that a test fails for whoever broke something and nobody else; SHARDRUN_FUZZ_RUNS=100000 looks for new ones.
 * @param share of the cases, smaller where one takes long
 */
export function fuzzParameters(share = 1): { readonly numRuns: number; readonly seed?: number } {
  return { numRuns: Math.ceil(FUZZ_RUNS * share), ...(GIVEN_RUNS === undefined ? { seed: 1 } : {}) };
}

/** A message that nobody can read helps nobody. */
const MOST_MESSAGE_CHARACTERS = 4000;

/** JSON text of values that programs stumble over. */
const STUMBLING_BLOCKS: fc.Arbitrary<string> = fc.oneof(
  fc.constantFrom("null", "true", '""', "-1", "0", "0.5", "1e308", "9007199254740993", "[]", "{}", '"__proto__"'),
  fc.constantFrom(`"${"x".repeat(10_000)}"`, "[".repeat(10_000) + "]".repeat(10_000)),
  fc.json({ maxDepth: 2 }),
);

/** Text with up to four places cut, overwritten or doubled. */
export function damagedText(text: string): fc.Arbitrary<string> {
  const edit = fc.record({ at: fc.nat(text.length), cut: fc.nat(8), put: fc.string({ unit: "binary", maxLength: 8 }) });
  return fc
    .array(edit, { maxLength: 4 })
    .map((edits) =>
      edits.reduce((damaged, { at, cut, put }) => damaged.slice(0, at) + put + damaged.slice(at + cut), text),
    );
}

/** JSON text of a value in which up to three members, at any depth, are missing or hold something else. */
export function damagedJson(value: unknown): fc.Arbitrary<string> {
  const edit = fc.record({
    path: fc.array(fc.nat(), { minLength: 1, maxLength: 6 }),
    put: fc.option(STUMBLING_BLOCKS),
  });
  return fc.array(edit, { minLength: 1, maxLength: 3 }).map((edits) => {
    const damaged: unknown = structuredClone(value);
    edits.forEach(({ path, put }, index) => replaceAt(damaged, path, put === null ? undefined : `put ${index}`));
    return edits.reduce((text, { put }, index) => text.replace(`"put ${index}"`, () => put!), JSON.stringify(damaged));
  });
}

/** Walks down by the path for as long as there are members, and replaces the last one; undefined takes it away. */
function replaceAt(container: unknown, [step = 0, ...path]: readonly number[], put: string | undefined): void {
  const members = container as Record<string, unknown>;
  const keys = Object.keys(members);
  const key = keys[step % keys.length];
  if (key === undefined) return;
  const isInner = typeof members[key] === "object" && members[key] !== null;
  if (path.length > 0 && isInner) replaceAt(members[key], path, put);
  else if (put === undefined && !Array.isArray(members)) delete members[key];
  else members[key] = put;
}

/** What `read` returns, or undefined when it refuses as it should: by an error of ours with a message for people. */
export async function understandOrRefuse<T>(read: () => T | Promise<T>): Promise<T | undefined> {
  try {
    return await read();
  } catch (error) {
    if (!(error instanceof ShardrunError) || error.code === "ERR_SHARDRUN_INTERNAL") throw error;
    expect(error.message.length).toBeLessThan(MOST_MESSAGE_CHARACTERS);
    return undefined;
  }
}
