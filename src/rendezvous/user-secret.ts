/**
 * A secret that all processes of one user on one host share: it stands in where an engine such as mpirun starts the ranks and
 * gives them none. It lies in a file that belongs to the user alone, is made once, and is as good for the next run.
 */
import { linkSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RendezvousError } from "../errors.ts";
import { distrustFile, readPrivateFile } from "./private-file.ts";
import { createSecret } from "./secret.ts";

/**
 * The user's secret, made now if there is none.
 * @throws {RendezvousError} when the file cannot be written, or is not this user's alone
 */
export function userSecret(): Uint8Array {
  const path = join(tmpdir(), `shardrun-${process.geteuid!()}.secret`);
  const text = readPrivateFile(path) ?? createFile(path) ?? readPrivateFile(path);
  if (text === undefined || !/^[0-9a-f]{64}$/.test(text)) {
    throw distrustFile(path, "it does not hold a secret");
  }
  return Uint8Array.from(Buffer.from(text, "hex"));
}

/** Writes a new secret under its final name at once; undefined when another process was faster. */
function createFile(path: string): string | undefined {
  const draft = `${path}.${process.pid}`;
  const text = Buffer.from(createSecret()).toString("hex");
  try {
    writeFileSync(draft, text, { flag: "wx", mode: 0o600 });
    linkSync(draft, path);
    return text;
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "EEXIST") {
      return undefined;
    }
    throw new RendezvousError(
      `Writing the secret of this user's ranks to ${path} failed: ${(cause as Error).message}. ` +
        "Make the temp directory writable, name another one in TMPDIR, or set SHARDRUN_SECRET for all ranks.",
      { cause },
    );
  } finally {
    rmSync(draft, { force: true });
  }
}
