/**
 * What the ranks tell each other after loading a model, and what comes of it: all have loaded, and loaded the same, or every rank
 * knows alike why not.
 */
import { ModelError } from "../errors.ts";
import type { FileFingerprint } from "../model/fingerprint.ts";

/** One rank's word, in the exchange after loading. */
export interface LoadStatus {
  readonly host: string;
  /** Where the rank looked for the model. */
  readonly directory: string;
  /** What it loaded; empty after an error. */
  readonly files: readonly FileFingerprint[];
  readonly error?: string | undefined;
}

/** @param statuses one per rank, in rank order; returns undefined when all is well */
export function findDisagreement(statuses: readonly LoadStatus[]): ModelError | undefined {
  const failedRank = statuses.findIndex(({ error }) => error !== undefined);
  if (failedRank >= 0) {
    const { host, error } = statuses[failedRank]!;
    return new ModelError(`Loading failed on rank ${failedRank} (${host}): ${error}`, { rank: failedRank, host });
  }
  const [root, ...followers] = statuses;
  for (const [i, follower] of followers.entries()) {
    const difference = describeDifference(root!, follower);
    if (difference === undefined) continue;
    const [rank, { host }] = [i + 1, follower];
    return new ModelError(
      `The ranks loaded different models: ${difference} on rank ${rank} (${host}, "${follower.directory}"), ` +
        `compared with rank 0 (${root!.host}, "${root!.directory}"). Copy the same model to every host.`,
      { rank, host },
    );
  }
  return undefined;
}

/** Names the first file that differs, with both fingerprints; undefined: all are the same. */
export function describeDifference(
  root: Pick<LoadStatus, "files">,
  follower: Pick<LoadStatus, "files">,
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
