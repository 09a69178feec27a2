/** What every reader of weight files says when a file is not what it claims to be. */
import { ModelError } from "../errors.ts";

/** @throws {ModelError} always: the file, what is wrong with it, and what to do */
export function refuseDamaged(file: string, problem: string): never {
  throw new ModelError(
    `Reading "${file}" failed: ${problem}. The file is damaged or truncated: download or convert it again.`,
  );
}
