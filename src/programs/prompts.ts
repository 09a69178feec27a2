/**
 * The prompts of a command line: texts and token ids among its options, or lines of a file or of standard input.
 * What is wrong with a line is told with its place.
 */
import { readFile } from "node:fs/promises";
import { text as readAll } from "node:stream/consumers";
import { UsageError } from "../errors.ts";
import { readText, VALUE, type ProgramArguments } from "./options.ts";

/** A prompt as it was given. */
export type GivenPrompt = { readonly text: string } | { readonly ids: readonly number[] };

const DEFAULT_PROMPT = "Once upon a time";
/** --input of standard input. */
const STANDARD_INPUT = "-";
/** A line is quoted up to here. */
const MAX_QUOTED_LENGTH = 60;

export const PROMPT_OPTIONS = {
  prompt: {
    type: "string",
    array: true,
    requiresArg: true,
    describe: `Text to continue [default: "${DEFAULT_PROMPT}"]`,
  },
  "prompt-ids": { type: "string", array: true, requiresArg: true, describe: "Token ids to continue: 1,403,407" },
  input: {
    ...VALUE,
    describe: 'File of prompts, a line {"prompt": "..."} or {"promptIds": [...]} each; "-": standard input',
  },
} as const;

/** Whether reading the prompts takes standard input, which only one process can. */
export function readsStandardInput(options: ProgramArguments): boolean {
  return readText(options, "input") === STANDARD_INPUT;
}

/**
 * All prompts, in the order: --prompt, --prompt-ids, --input; one of its own when there is none of these.
 * @throws {UsageError} naming what was received, and the line
 */
export async function readPrompts(options: ProgramArguments): Promise<GivenPrompt[]> {
  const texts = ((options["prompt"] ?? []) as string[]).map((text) => ({ text }));
  const ids = ((options["prompt-ids"] ?? []) as string[]).map((list) => ({ ids: parseIds(list) }));
  const input = readText(options, "input");
  const lines = input === undefined ? [] : await readPromptFile(input);
  const prompts = [...texts, ...ids, ...lines];
  return prompts.length === 0 && input === undefined ? [{ text: DEFAULT_PROMPT }] : prompts;
}

function parseIds(list: string): number[] {
  return list.split(",").map((item) => {
    const id = Number(item);
    if (item.trim() === "" || !Number.isSafeInteger(id)) {
      throw new UsageError(`--prompt-ids expects token ids with commas between them, received "${list}".`);
    }
    return id;
  });
}

/** Lines of {"prompt"} or {"promptIds"}; empty lines are passed over. */
async function readPromptFile(file: string): Promise<GivenPrompt[]> {
  const name = file === STANDARD_INPUT ? "stdin" : file;
  let lines: string[];
  try {
    lines = (file === STANDARD_INPUT ? await readAll(process.stdin) : await readFile(file, "utf8")).split(/\r?\n/);
  } catch (cause) {
    throw new UsageError(`Reading the prompts of ${name} failed: ${(cause as Error).message}.`, { cause });
  }
  return lines.flatMap((line, index) => (line.trim() === "" ? [] : [parsePromptLine(line, `${name}:${index + 1}`)]));
}

function parsePromptLine(line: string, place: string): GivenPrompt {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (cause) {
    throw new UsageError(`${place}: expected a line of JSON, received ${quote(line)}`, { cause });
  }
  const { prompt, promptIds } = (value ?? {}) as { prompt?: unknown; promptIds?: unknown };
  if (typeof prompt === "string") {
    return { text: prompt };
  }
  if (Array.isArray(promptIds) && promptIds.every((id) => Number.isSafeInteger(id))) {
    return { ids: promptIds as number[] };
  }
  throw new UsageError(`${place}: expected {"prompt": "text"} or {"promptIds": [ids]}, received ${quote(line)}`);
}

function quote(line: string): string {
  return line.length > MAX_QUOTED_LENGTH ? `${line.slice(0, MAX_QUOTED_LENGTH)}...` : line;
}
