/**
 * How ranks of one host meet when no launcher told them where: rank 0 leaves {address, secret} in a file of the temp directory
 * whose name all ranks derive from their run id. The file belongs to the user alone; one that another user could have written is
 * refused. A file left by a run that crashed does no harm, as its address no longer answers or no longer knows its secret.
 */
import { createHash } from "node:crypto";
import { renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RendezvousError } from "../errors.ts";
import { distrustFile, readPrivateFile } from "./private-file.ts";

/** Where rank 0 listens and what it wants proved. */
export interface CoordinatorAddress {
  /** host:port */
  readonly address: string;
  readonly secret: Uint8Array;
}

/** The path that all ranks of a run compute alike, and no other run or user. */
export function addressFilePath(engine: string, runId: string, worldSize: number): string {
  const key = JSON.stringify([engine, runId, worldSize, process.geteuid!()]);
  return join(tmpdir(), `shardrun-${createHash("sha256").update(key).digest("hex").slice(0, 32)}`);
}

/**
 * Publishes rank 0's address; readers see all of it or nothing.
 * @throws {RendezvousError} when the file cannot be written, or the name is taken by another user's file.
 */
export function writeAddressFile(path: string, { address, secret }: CoordinatorAddress): void {
  const draft = `${path}.${process.pid}`;
  try {
    rmSync(draft, { force: true });
    writeFileSync(draft, JSON.stringify({ address, secret: Buffer.from(secret).toString("hex") }), {
      flag: "wx",
      mode: 0o600,
    });
    renameSync(draft, path);
  } catch (cause) {
    rmSync(draft, { force: true });
    throw new RendezvousError(
      `Writing rank 0's address to ${path} failed: ${(cause as Error).message}. ` +
        "Make the temp directory writable or name another one in TMPDIR, the same for all ranks.",
      { cause },
    );
  }
}

/**
 * The address in the file, or undefined when there is none yet.
 * @throws {RendezvousError} when the file is not this user's alone, or holds something else.
 */
export function readAddressFile(path: string): CoordinatorAddress | undefined {
  const text = readPrivateFile(path);
  return text === undefined ? undefined : parse(path, text);
}

/** Removes the file, unless a later run has put its own there. */
export function removeAddressFile(path: string, own: CoordinatorAddress): void {
  if (readAddressFile(path)?.address === own.address) rmSync(path, { force: true });
}

function parse(path: string, text: string): CoordinatorAddress {
  try {
    const { address, secret } = JSON.parse(text) as Record<string, unknown>;
    if (typeof address === "string" && typeof secret === "string" && /^[0-9a-f]{64}$/.test(secret)) {
      return { address, secret: Uint8Array.from(Buffer.from(secret, "hex")) };
    }
  } catch {
    // said below
  }
  throw distrustFile(path, "it does not hold an address and a secret");
}
