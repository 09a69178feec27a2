/**
 * What a mirror holds: one line per chunk that has been written, with the digest of its bytes, and a line that seals the mirror
 * when a transfer has ended well. A line is written after its chunk, so what a journal does not name is not there; what it names is
 * believed without reading it again only under a seal, as power may have been cut before the bytes reached the disk.
 */
import { closeSync, existsSync, openSync, readFileSync, renameSync, writeFileSync, writeSync } from "node:fs";
import { decodeRanges, encodeRanges, type Stride } from "./byte-ranges.ts";
import type { Chunk } from "./chunks.ts";

/** A chunk that has been written. */
export interface PresentChunk extends Chunk {
  /** Hexadecimal. */
  readonly digest: string;
}

type Line =
  { readonly file: number; readonly strides: readonly Stride[]; readonly digest: string } | { readonly seal: string };

export interface JournalContent {
  readonly chunks: readonly PresentChunk[];
  /** What the last line says, if it is a seal. */
  readonly seal: string | undefined;
}

/** Reads a journal; one that does not exist is empty. Everything from the first torn line on is left out. */
export function readJournal(path: string): JournalContent {
  if (!existsSync(path)) return { chunks: [], seal: undefined };
  const chunks: PresentChunk[] = [];
  let seal: string | undefined;
  for (const text of readFileSync(path, "utf8").split("\n").slice(0, -1)) {
    const line = parseLine(text);
    if (line === undefined) return { chunks, seal: undefined };
    if ("seal" in line) {
      ({ seal } = line);
      continue;
    }
    const ranges = decodeRanges(line.strides);
    chunks.push({ ...line, ranges, bytes: ranges.reduce((sum, { begin, end }) => sum + end - begin, 0) });
    seal = undefined;
  }
  return { chunks, seal };
}

function parseLine(text: string): Line | undefined {
  try {
    return JSON.parse(text) as Line;
  } catch {
    return undefined;
  }
}

/** Makes a journal of these chunks alone. */
export function replaceJournal(path: string, chunks: readonly PresentChunk[]): void {
  writeFileSync(`${path}.new`, chunks.map((chunk) => formatLine(lineOf(chunk))).join(""), { mode: 0o600 });
  renameSync(`${path}.new`, path);
}

/** A journal that is being continued. */
export class JournalWriter {
  readonly #descriptor: number;

  constructor(path: string) {
    this.#descriptor = openSync(path, "a", 0o600);
  }

  add(chunk: PresentChunk): void {
    writeSync(this.#descriptor, formatLine(lineOf(chunk)));
  }

  seal(seal: string): void {
    writeSync(this.#descriptor, formatLine({ seal }));
  }

  close(): void {
    closeSync(this.#descriptor);
  }
}

function lineOf({ file, ranges, digest }: PresentChunk): Line {
  return { file, strides: encodeRanges(ranges), digest };
}

function formatLine(line: Line): string {
  return `${JSON.stringify(line)}\n`;
}
