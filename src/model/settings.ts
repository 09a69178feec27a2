/**
 * A JSON file of settings (config.json, generation_config.json) with checked access: every getter names the file, the key,
 * what was expected and what was found. null counts as absent, as in Hugging Face's files.
 */
import { readFileSync, statSync } from "node:fs";
import { ModelError } from "../errors.ts";

/** Several times the largest tokenizer.json that is published (some 35 MB); what is larger is another file under this name. */
export const MAX_JSON_BYTES = 256 * 1024 * 1024;
/** A value is quoted up to here. */
const MAX_QUOTED_LENGTH = 200;

/**
 * Reads a file that must hold one JSON object.
 * @throws {ModelError} when it cannot be read, is too large, is not JSON, or is not an object.
 */
export function readJsonObject(file: string): Record<string, unknown> {
  return parseJsonObject(file, readText(file));
}

function readText(file: string): string {
  try {
    const status = statSync(file);
    // Opening a pipe would wait for whoever writes into it.
    if (!status.isFile()) throw new ModelError("it is not a file");
    if (status.size > MAX_JSON_BYTES) {
      throw new ModelError(`it has ${status.size} bytes, more than the ${MAX_JSON_BYTES} that are read`);
    }
    return readFileSync(file, "utf8");
  } catch (cause) {
    throw new ModelError(`Reading "${file}" failed: ${(cause as Error).message}.`, { cause });
  }
}

/**
 * Parses text that must be one JSON object; `file` is for the error.
 * @throws {ModelError} when it is not.
 */
export function parseJsonObject(file: string, text: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new ModelError(`Reading "${file}" failed: not valid JSON (${(cause as Error).message}).`, { cause });
  }
  if (!isJsonObject(value)) throw new ModelError(`Reading "${file}" failed: expected a JSON object.`);
  return value;
}

/** Whether a parsed JSON value is an object (no array, not null). */
export function isJsonObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A parsed JSON value for a message, cut to a readable length: it may be as large as its file, and nested more deeply than JSON.stringify can go. */
export function quoteJson(value: unknown): string {
  try {
    const text = String(JSON.stringify(value));
    return text.length > MAX_QUOTED_LENGTH ? `${text.slice(0, MAX_QUOTED_LENGTH)}...` : text;
  } catch {
    return Array.isArray(value) ? "[...]" : "{...}";
  }
}

/** Checked access to one JSON object. */
export class Settings {
  readonly file: string;
  private readonly values: Readonly<Record<string, unknown>>;
  private readonly path: string;

  /** @param path where the object lies in the file ("rope_scaling."), "" at the top. */
  constructor(file: string, values: Readonly<Record<string, unknown>>, path = "") {
    this.file = file;
    this.values = values;
    this.path = path;
  }

  /** The same settings, with these values for keys that are missing; null stays null. */
  withDefaults(defaults: Readonly<Record<string, unknown>>): Settings {
    return new Settings(this.file, { ...defaults, ...this.values }, this.path);
  }

  /** Whether the key is there and not null. */
  has(key: string): boolean {
    return this.raw(key) !== undefined;
  }

  /** A whole number of at least `minimum` (1 unless given). */
  integer(key: string, fallback?: number, minimum = 1): number {
    const value = this.raw(key) ?? fallback;
    if (!Number.isSafeInteger(value) || (value as number) < minimum) {
      this.fail(key, `an integer of at least ${minimum}`);
    }
    return value as number;
  }

  /** A finite number above 0. */
  positive(key: string, fallback?: number): number {
    const value = this.raw(key) ?? fallback;
    if (typeof value !== "number" || !Number.isFinite(value) || value <= 0) this.fail(key, "a number above 0");
    return value;
  }

  /** A list of `count` finite numbers above 0. */
  positives(key: string, count: number): number[] {
    const values = this.raw(key);
    const isPositive = (value: unknown): boolean => typeof value === "number" && Number.isFinite(value) && value > 0;
    if (!Array.isArray(values) || values.length !== count || !values.every(isPositive)) {
      this.fail(key, `a list of ${count} numbers above 0`);
    }
    return values as number[];
  }

  /** A finite number of at least 0. */
  number(key: string, fallback: number): number {
    const value = this.raw(key) ?? fallback;
    if (typeof value !== "number" || !Number.isFinite(value) || value < 0) this.fail(key, "a number of at least 0");
    return value;
  }

  boolean(key: string, fallback: boolean): boolean {
    const value = this.raw(key) ?? fallback;
    if (typeof value !== "boolean") this.fail(key, "true or false");
    return value;
  }

  /** One of the known words. */
  choice<Word extends string>(key: string, known: readonly Word[], fallback?: Word): Word {
    const value = this.raw(key) ?? fallback;
    if (!known.includes(value as Word)) this.fail(key, `one of ${known.map((word) => `"${word}"`).join(", ")}`);
    return value as Word;
  }

  /** One of the known words for each of `count`, or undefined when the key is missing. */
  choices<Word extends string>(key: string, known: readonly Word[], count: number): Word[] | undefined {
    const values = this.raw(key);
    if (values === undefined) return undefined;
    if (!Array.isArray(values) || values.length !== count || !values.every((value) => known.includes(value as Word))) {
      this.fail(key, `a list of ${count} times one of ${known.map((word) => `"${word}"`).join(", ")}`);
    }
    return values as Word[];
  }

  /** An integer or a list of integers, as a list; negative ones mean "none". */
  tokenIds(key: string): number[] {
    const value = this.raw(key) ?? [];
    const ids: unknown[] = Array.isArray(value) ? value : [value];
    if (!ids.every((id) => Number.isSafeInteger(id))) this.fail(key, "a token id or a list of token ids");
    return (ids as number[]).filter((id) => id >= 0);
  }

  strings(key: string): string[] {
    const value = this.raw(key) ?? [];
    if (!Array.isArray(value) || !value.every((item) => typeof item === "string")) this.fail(key, "a list of strings");
    return value;
  }

  numbers(key: string): number[] {
    const value = this.raw(key) ?? [];
    if (!Array.isArray(value) || !value.every((item) => typeof item === "number")) this.fail(key, "a list of numbers");
    return value;
  }

  /** A text, or undefined. */
  text(key: string): string | undefined {
    const value = this.raw(key);
    if (value !== undefined && typeof value !== "string") this.fail(key, "a text");
    return value;
  }

  /** The object under a key, or undefined. */
  section(key: string): Settings | undefined {
    const value = this.raw(key);
    if (value === undefined) return undefined;
    if (!isJsonObject(value)) this.fail(key, "an object");
    return new Settings(this.file, value, `${this.path}${key}.`);
  }

  /** @throws {ModelError} saying that this key holds something that is not supported, and why. */
  refuse(key: string, reason: string): never {
    throw new ModelError(
      `"${this.path}${key}": ${quoteJson(this.raw(key))} in "${this.file}" is not supported: ${reason}`,
    );
  }

  private raw(key: string): unknown {
    return Object.hasOwn(this.values, key) ? (this.values[key] ?? undefined) : undefined;
  }

  private fail(key: string, expected: string): never {
    const found = this.has(key) ? `received ${quoteJson(this.raw(key))}` : "but the key is missing";
    throw new ModelError(`"${this.path}${key}" in "${this.file}": expected ${expected}, ${found}.`);
  }
}
