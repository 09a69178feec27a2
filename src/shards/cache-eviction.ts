/**
 * What the cache holds, and how it is kept small: entries that nobody uses go, the one that was used longest ago first.
 * An entry in use carries a shared lock of each process that has it open; removing needs an exclusive one.
 */
import { randomBytes } from "node:crypto";
import { readdirSync, renameSync, rmSync, statfsSync, statSync } from "node:fs";
import { join } from "node:path";
import type { NativeAddon } from "../collective/native.ts";
import { LOCK_FILE, measureDirectory, readManifest } from "./cache-entry.ts";

export type LockFile = NativeAddon["lockFile"];

/** A directory of the cache, as it is on disk. */
export interface CacheItem {
  /** The directory's own name. */
  readonly name: string;
  /** "draft": being made, or left behind by a process that was killed; "removed": on its way out. */
  readonly state: "entry" | "draft" | "removed";
  readonly kind: string;
  readonly label: string;
  /** Taken on the disk. */
  readonly bytes: number;
  readonly lastUse: Date;
}

/** What must hold after prune; all of it. */
export interface PruneGoal {
  /** No more bytes than this in the cache. */
  readonly maxBytes?: number | undefined;
  /** No entry whose last use is before this. */
  readonly usedSince?: Date | undefined;
  /** At least so many bytes free on the disk. */
  readonly freeBytes?: number;
}

const ITEM_NAME = /^([a-z]+)-([0-9a-f]+)(\.draft|\.[0-9a-f]+\.removed)?$/;

/** Everything in the cache, last used first. Other files in its directory are not the cache's. */
export function listItems(directory: string): CacheItem[] {
  const items = readNames(directory).flatMap((name) => {
    const match = ITEM_NAME.exec(name);
    const item = match === null ? undefined : describeItem(directory, name, match);
    return item === undefined ? [] : [item];
  });
  return items.toSorted((a, b) => b.lastUse.getTime() - a.lastUse.getTime());
}

/** Whether a living process uses an entry, or makes a draft. */
export function isInUse(directory: string, { name, state }: CacheItem, lockFile: LockFile): boolean {
  if (state === "removed") return false;
  try {
    const lock = lockFile(join(directory, name, LOCK_FILE), "exclusive");
    lock?.release();
    return lock === undefined;
  } catch {
    return false; // not ours to tell, or gone this moment
  }
}

/** Removes what nobody uses until the goal is reached or nothing is left to remove; returns what was removed. */
export function prune(directory: string, goal: PruneGoal, lockFile: LockFile): CacheItem[] {
  const items = listItems(directory);
  const leftovers = items.filter(({ state }) => state !== "entry");
  const removed = leftovers.filter((item) => removeUnused(directory, item, lockFile));
  let bytes = items.reduce((sum, item) => sum + item.bytes, 0) - removed.reduce((sum, item) => sum + item.bytes, 0);
  for (const item of items.filter(({ state }) => state === "entry").reverse()) {
    const isTooOld = goal.usedSince !== undefined && item.lastUse < goal.usedSince;
    const isTooMuch = bytes > (goal.maxBytes ?? Infinity) || countFreeBytes(directory) < (goal.freeBytes ?? 0);
    if ((isTooOld || isTooMuch) && removeUnused(directory, item, lockFile)) {
      removed.push(item);
      bytes -= item.bytes;
    }
  }
  return removed;
}

/** Bytes that this user may still write on the disk of a directory. */
export function countFreeBytes(directory: string): number {
  const { bavail, bsize } = statfsSync(directory);
  return bavail * bsize;
}

/** Takes a directory away under a name that nobody looks for, so that no one meets it half removed. */
export function removeDirectory(path: string): void {
  const away = `${path}.${randomBytes(4).toString("hex")}.removed`;
  renameSync(path, away);
  rmSync(away, { recursive: true, force: true });
}

function describeItem(
  directory: string,
  name: string,
  [, kind = "", , ending]: RegExpExecArray,
): CacheItem | undefined {
  const path = join(directory, name);
  const status =
    statSync(join(path, LOCK_FILE), { throwIfNoEntry: false }) ?? statSync(path, { throwIfNoEntry: false });
  if (status === undefined) return undefined; // gone since the directory was read
  const state = ending === undefined ? "entry" : ending === ".draft" ? "draft" : "removed";
  return {
    name,
    state,
    kind,
    label: readManifest(path)?.label ?? "unfinished",
    bytes: measureDirectory(path),
    lastUse: status.mtime,
  };
}

/** Whether it is gone; false when it is in use, or not ours to remove. */
function removeUnused(directory: string, { name, state }: CacheItem, lockFile: LockFile): boolean {
  const path = join(directory, name);
  try {
    if (state === "removed") {
      rmSync(path, { recursive: true, force: true });
      return true;
    }
    const lock = lockFile(join(path, LOCK_FILE), "exclusive");
    if (lock === undefined) return false;
    try {
      removeDirectory(path);
    } finally {
      lock.release();
    }
    return true;
  } catch {
    return false;
  }
}

function readNames(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}
