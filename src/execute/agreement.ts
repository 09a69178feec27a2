/**
 * What the ranks tell each other after loading a model, and what comes of it: all have loaded it, or every rank knows alike why not.
 */
import { ModelError } from "../errors.ts";
import type { FileFingerprint } from "../model/fingerprint.ts";

/** One rank's word, in the exchange after loading. */
export interface LoadStatus {
  readonly host: string;
  readonly error?: string | undefined;
}

/** @param statuses one per rank, in rank order; returns undefined when all is well */
export function findFailure(statuses: readonly LoadStatus[]): ModelError | undefined {
  const rank = statuses.findIndex(({ error }) => error !== undefined);
  if (rank < 0) return undefined;
  const { host, error } = statuses[rank]!;
  return new ModelError(`Loading failed on rank ${rank} (${host}): ${error}`, { rank, host });
}

/** Names the first file that differs, with both fingerprints; undefined: all are the same. */
export function describeDifference(
  root: { readonly files: readonly FileFingerprint[] },
  follower: { readonly files: readonly FileFingerprint[] },
): string | undefined {
  const names = [...new Set([...root.files, ...follower.files].map(({ name }) => name))];
  for (const name of names) {
    const [expected, found] = [root, follower].map(({ files }) => files.find((file) => file.name === name)?.digest);
    if (expected === found) continue;
    if (found === undefined) return `${name} is missing`;
    if (expected === undefined) return `${name} is extra`;
    return `${name} has fingerprint ${found} instead of ${expected}`;
  }
  return undefined;
}
