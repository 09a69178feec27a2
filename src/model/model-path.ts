/**
 * What the path of a model names: a checkpoint directory or a GGUF file. A file of its own because a path that names neither is
 * the commonest mistake of all, and deserves to be told what is there instead.
 */
import { readdirSync, statSync, type Stats } from "node:fs";
import { basename, dirname, join } from "node:path";
import { ModelError } from "../errors.ts";

const EXPECTED = "expected a checkpoint directory or a GGUF file";
const EXTENSION = ".gguf";
/** Characters in which a name may differ from the one that was meant. */
const MOST_SLIPS = 2;

/**
 * Whether a model's path names a GGUF file; else it names a directory.
 * @throws {ModelError} when it names neither; says what has nearly that name
 */
export function isGgufFile(path: string): boolean {
  const found = inspect(path);
  if (found.isDirectory()) return false;
  if (found.isFile()) return true;
  throw new ModelError(`Model "${path}" is neither a directory nor a file: ${EXPECTED}.`);
}

function inspect(path: string): Stats {
  try {
    return statSync(path);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code !== "ENOENT" && code !== "ENOTDIR") {
      throw new ModelError(`Looking for the model "${path}" failed: ${message}. Check its path.`, { cause: error });
    }
    const similar = findSimilar(path);
    const hint = similar === undefined ? "" : `, "${similar}" does`;
    throw new ModelError(`Model "${path}" does not exist${hint}: ${EXPECTED}.`);
  }
}

/** A directory or GGUF file beside the path that has nearly its name. */
function findSimilar(path: string): string | undefined {
  const wanted = basename(path).toLowerCase();
  const slipsOf = (name: string): number =>
    name.toLowerCase() === wanted + EXTENSION ? 0 : countSlips(wanted, name.toLowerCase());
  const [nearest] = listModels(dirname(path))
    .map((name) => ({ name, slips: slipsOf(name) }))
    .filter(({ slips }) => slips <= MOST_SLIPS)
    .sort((a, b) => a.slips - b.slips);
  return nearest === undefined ? undefined : join(dirname(path), nearest.name);
}

function listModels(directory: string): string[] {
  try {
    return readdirSync(directory, { withFileTypes: true })
      .filter((entry) => entry.isDirectory() || entry.name.toLowerCase().endsWith(EXTENSION))
      .map(({ name }) => name)
      .sort();
  } catch {
    return []; // there is no such directory, or it is closed to us
  }
}

/** Characters to insert, delete or replace in order to make the one text of the other (Levenshtein's distance). */
function countSlips(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, column) => column);
  for (let i = 0; i < from.length; i += 1) {
    const next = [i + 1];
    for (let j = 0; j < to.length; j += 1) {
      const replaced = row[j]! + (from[i] === to[j] ? 0 : 1);
      next.push(Math.min(replaced, row[j + 1]! + 1, next[j]! + 1));
    }
    row = next;
  }
  return row[to.length]!;
}
