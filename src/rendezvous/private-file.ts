/** Files of the temp directory that only this user could have written; anything else is refused. */
import { closeSync, constants, fstatSync, openSync, readFileSync } from "node:fs";
import { RendezvousError } from "../errors.ts";

/**
 * The text of a file, or undefined when there is none.
 * @throws {RendezvousError} when the file is not this user's alone
 */
export function readPrivateFile(path: string): string | undefined {
  let file: number;
  try {
    file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") {
      return undefined;
    }
    throw distrustFile(path, (error as Error).message);
  }
  try {
    const stat = fstatSync(file);
    const mode = stat.mode & 0o777;
    if (!stat.isFile()) {
      throw distrustFile(path, "it is no regular file");
    }
    if (stat.uid !== process.geteuid!()) {
      throw distrustFile(path, `it belongs to user ${stat.uid}`);
    }
    if ((mode & 0o077) !== 0) {
      throw distrustFile(path, `its mode is ${mode.toString(8)}, expected 600`);
    }
    return readFileSync(file, "utf8");
  } finally {
    closeSync(file);
  }
}

/** The error of a file that is not what it should be. */
export function distrustFile(path: string, reason: string): RendezvousError {
  return new RendezvousError(
    `The file ${path} was not believed: ${reason}. Another user or program may have put it there: remove it.`,
  );
}
