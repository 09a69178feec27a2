/**
 * One entry of the cache on disk: a directory of files and a manifest that says what they must be.
 *
 *     KIND-KEY/  lock  manifest.json  and the entry's files
 *
 * What is checked at each opening costs no reading of the files: the manifest is whole, every file has its size, and its inode
 * has not been changed since the entry was finished. A file that was touched since (written to, copied, restored from a backup)
 * is read once and compared with its checksum.
 */
import { createHash } from "node:crypto";
import {
  createReadStream,
  lstatSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";

/** Of this layout; another number makes every entry again. */
const FORMAT = 1;
export const LOCK_FILE = "lock";
const MANIFEST_FILE = "manifest.json";

/** What an entry is, in three words: what made it, of what, and for people. */
export interface EntryName {
  /** "weights", "checkpoint", ...: lower-case letters. */
  readonly kind: string;
  /** Hexadecimal; different for everything that would make other bytes. */
  readonly key: string;
  /** One line that tells a person what it holds. */
  readonly label: string;
}

interface FileRecord {
  readonly name: string;
  readonly bytes: number;
  readonly sha256: string;
  /** When the inode last changed, in nanoseconds: every write moves it, and nobody can set it back. */
  readonly changedNs: string;
}

export interface Manifest extends EntryName {
  readonly format: number;
  readonly files: readonly FileRecord[];
}

/** The name of an entry's directory. */
export function directoryName({ kind, key }: EntryName): string {
  return `${kind}-${key}`;
}

/** Brings the files of a finished draft safely to disk, and writes what they must be beside them. */
export async function writeManifest(directory: string, { kind, key, label }: EntryName): Promise<Manifest> {
  const names = readdirSync(directory).filter((name) => name !== LOCK_FILE);
  const files: FileRecord[] = [];
  for (const name of names.toSorted()) {
    const path = join(directory, name);
    await flush(path);
    files.push({ ...(await describeFile(path)), name });
  }
  const manifest: Manifest = { format: FORMAT, kind, key, label, files };
  await replaceManifest(directory, manifest);
  return manifest;
}

/** Says what a directory holds whose files check themselves. */
export async function labelDirectory(directory: string, { kind, key, label }: EntryName): Promise<void> {
  if (readManifest(directory) === undefined) {
    await replaceManifest(directory, { format: FORMAT, kind, key, label, files: [] });
  }
}

/** The manifest of an entry as it lies on disk; undefined when there is none, or none that can be believed. */
export function readManifest(directory: string): Manifest | undefined {
  try {
    const manifest = JSON.parse(readFileSync(join(directory, MANIFEST_FILE), "utf8")) as Manifest;
    return manifest.format === FORMAT && Array.isArray(manifest.files) ? manifest : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Whether an entry holds what its manifest says and is the one that is wanted. Reads a file only when it was touched since.
 * Only entries that this user or root wrote are believed: what they hold decides a model's answers.
 */
export async function isIntact(directory: string, name: EntryName): Promise<boolean> {
  if (!isTrusted(directory)) return false;
  const manifest = readManifest(directory);
  if (manifest?.kind !== name.kind || manifest.key !== name.key) return false;
  const found: FileRecord[] = [];
  for (const file of manifest.files) {
    const present = await checkFile(join(directory, file.name), file);
    if (present === undefined) return false;
    found.push(present);
  }
  if (found.some(({ changedNs }, index) => changedNs !== manifest.files[index]!.changedNs)) {
    // Where this may not be written, the files are read again at the next opening.
    await replaceManifest(directory, { ...manifest, files: found }).catch(() => undefined);
  }
  return true;
}

/** The lock's modification time is that of the last use. */
export function noteUse(directory: string): void {
  const now = new Date();
  try {
    utimesSync(join(directory, LOCK_FILE), now, now);
  } catch {
    // A cache that may only be read.
  }
}

/** Bytes that a directory takes on the disk; holes of sparse files take none, nor does a draft that has just become an entry. */
export function measureDirectory(directory: string): number {
  return listDirectory(directory).reduce((sum, name) => {
    const status = statSync(join(directory, name), { throwIfNoEntry: false });
    return sum + (status?.blocks ?? 0) * 512;
  }, 0);
}

/** Empty for a directory that another process has taken away meanwhile. */
function listDirectory(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}

/** Whether only this user or root can have written to a directory. */
export function isTrusted(directory: string): boolean {
  const status = lstatSync(directory, { throwIfNoEntry: false });
  if (status === undefined || !status.isDirectory()) return false;
  return [process.geteuid!(), 0].includes(status.uid) && (status.mode & 0o022) === 0;
}

/** The record of a file that is as expected, with the time of its last change; undefined when it is not. */
async function checkFile(path: string, expected: FileRecord): Promise<FileRecord | undefined> {
  const status = statSync(path, { bigint: true, throwIfNoEntry: false });
  if (status === undefined || !status.isFile() || Number(status.size) !== expected.bytes) return undefined;
  if (String(status.ctimeNs) === expected.changedNs) return expected;
  const found = { ...(await describeFile(path)), name: expected.name };
  return found.sha256 === expected.sha256 ? found : undefined;
}

async function describeFile(path: string): Promise<Omit<FileRecord, "name">> {
  const { size, ctimeNs } = statSync(path, { bigint: true });
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk as Uint8Array);
  return { bytes: Number(size), sha256: hash.digest("hex"), changedNs: String(ctimeNs) };
}

/** After a power cut a file of the right length may otherwise hold zeros. */
async function flush(path: string): Promise<void> {
  const file = await open(path, "r+");
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

/** A reader sees the old manifest or the new one. */
async function replaceManifest(directory: string, manifest: Manifest): Promise<void> {
  const draft = join(directory, `${MANIFEST_FILE}.${process.pid}`);
  writeFileSync(draft, JSON.stringify(manifest, undefined, 2), { mode: 0o600 });
  await flush(draft);
  renameSync(draft, join(directory, MANIFEST_FILE));
}
