/**
 * What rank 0 offers to ranks that have no copy of the model: the files that decide the answer, by name, size and fingerprint.
 * A mirror belongs to one offer: files that were changed since are another offer, and their old mirror is never read again.
 */
import { createHash } from "node:crypto";
import { statSync } from "node:fs";
import { basename } from "node:path";
import { ModelError } from "../errors.ts";
import { fingerprintFiles, type FileFingerprint } from "../model/fingerprint.ts";
import type { Model } from "../model/model.ts";
import { firstWeightBytes } from "./source-ranges.ts";

/** Tells a file from what it was before, where a fingerprint, which reads samples only, might not. */
export interface FileState {
  readonly bytes: number;
  /** When it was last written, in nanoseconds. */
  readonly modifiedNs: string;
}

/** One file, as rank 0 has it. */
export interface OfferedFile extends FileFingerprint, FileState {
  /** What comes before the first weight: every rank reads it, to know where the weights are. */
  readonly headBytes: number;
}

export interface Offer {
  /** Hexadecimal; the same for the same files only. */
  readonly key: string;
  /** The file that is the model, where one is; "" for a directory. */
  readonly path: string;
  readonly files: readonly OfferedFile[];
}

/** Describes the files of a model that lies here. */
export async function describeOffer(model: Model): Promise<Offer> {
  const firstWeights = firstWeightBytes(model.graph);
  const states = model.files.map((path) => stateOf(statSync(path, { bigint: true })));
  const fingerprints = await fingerprintFiles(model.files);
  const files = model.files.map((path, index) => {
    const state = states[index]!;
    return { ...fingerprints[index]!, ...state, headBytes: Math.min(state.bytes, firstWeights.get(path) ?? Infinity) };
  });
  const key = createHash("sha256").update(JSON.stringify(files)).digest("hex").slice(0, 32);
  return { key, path: model.files.includes(model.directory) ? basename(model.directory) : "", files };
}

/** Whether files with these fingerprints are those of the offer. */
export function isOffered(offer: Offer, files: readonly FileFingerprint[]): boolean {
  const list = (entries: readonly FileFingerprint[]): string =>
    entries
      .map(({ name, digest }) => `${name} ${digest}`)
      .toSorted()
      .join("\n");
  return list(offer.files) === list(files);
}

/**
 * Checks that the files at `paths` are still those of the offer.
 * @throws {ModelError} naming the first that is not
 */
export function checkUnchanged(offer: Offer, paths: readonly string[]): void {
  for (const [file, path] of paths.entries()) {
    const status = statSync(path, { bigint: true, throwIfNoEntry: false });
    if (status === undefined || !isInState(offer.files[file]!, stateOf(status))) throw changedError(path);
  }
}

export function isInState(expected: FileState, found: FileState): boolean {
  return expected.bytes === found.bytes && expected.modifiedNs === found.modifiedNs;
}

export function stateOf({ size, mtimeNs }: { readonly size: bigint; readonly mtimeNs: bigint }): FileState {
  return { bytes: Number(size), modifiedNs: String(mtimeNs) };
}

export function changedError(path: string): ModelError {
  return new ModelError(
    `"${path}" was changed while the model was being loaded. Load it again when the file is complete.`,
  );
}

/** @throws {ModelError} when an offered file would lie outside its mirror's directory */
export function checkFileName(name: string): string {
  if (name !== basename(name) || ["", ".", ".."].includes(name)) {
    throw new ModelError(`Rank 0 offers a file named ${JSON.stringify(name)}, which is no plain file name.`);
  }
  return name;
}
