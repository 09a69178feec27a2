/**
 * Where mirrors lie: in the cache, counted and evicted with its other entries. Those are made once and whole; a mirror grows from
 * start to start. So it has two locks: the entry's own, shared by all who read it, keeps it from being removed, and the
 * writer's lets one process at a time complete it.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { FileLock } from "../collective/native.ts";
import { ModelError } from "../errors.ts";
import { say } from "../log.ts";
import { directoryName, isTrusted, labelDirectory, LOCK_FILE, noteUse } from "./cache-entry.ts";
import { countFreeBytes, prune, removeDirectory, type LockFile } from "./cache-eviction.ts";
import type { CacheSettings } from "./cache-settings.ts";
import { Mirror } from "./mirror.ts";
import type { Offer } from "./offer.ts";

/** What a mirror lies in. */
export interface MirrorStore {
  readonly settings: CacheSettings;
  /** The addon's. */
  readonly lockFile: LockFile;
  /** Called now and then while another process writes the mirror. */
  readonly whileWaiting: () => Promise<void>;
}

/** A mirror that is in use. */
export interface HeldMirror {
  readonly mirror: Mirror;
  /** Removes other entries that nobody uses until so many bytes fit; returns how many are free then. */
  makeRoom(numBytes: number): number;
  /** Lets another process write. */
  endWriting(): void;
  /** Lets the mirror be removed. What is mapped by then stays readable. */
  release(): void;
}

const WRITER_FILE = "writer";
const POLL_MS = 50;
/** Whoever waits longer for another process is told. */
const QUIET_MS = 3_000;

/**
 * The mirror of an offer, which may be new and empty, for this process to write.
 * @param label tells a person what it holds
 * @throws {ModelError} when it cannot be made or written
 */
export async function holdMirror(
  offer: Offer,
  label: string,
  { settings, lockFile, whileWaiting }: MirrorStore,
): Promise<HeldMirror> {
  const name = { kind: "mirror", key: offer.key, label };
  const directory = join(settings.directory, directoryName(name));
  const locks: FileLock[] = [];
  const releaseAll = (): void => locks.splice(0).forEach((lock) => lock.release());
  try {
    const lock = (file: string, kind: "shared" | "exclusive"): Promise<FileLock> =>
      takeLock(directory, file, () => lockFile(join(directory, file), kind), whileWaiting);
    locks.push(await lock(LOCK_FILE, "shared"));
    if (!isTrusted(directory)) throw new Error("it belongs to another user, or others may write there");
    const writing = await lock(WRITER_FILE, "exclusive");
    locks.push(writing);
    noteUse(directory);
    await labelDirectory(directory, name);
    const mirror = new Mirror(directory, offer);
    return {
      mirror,
      makeRoom(numBytes) {
        const goal = { maxBytes: Math.max(0, settings.limitBytes - numBytes), freeBytes: numBytes };
        prune(settings.directory, goal, lockFile);
        return countFreeBytes(directory);
      },
      endWriting() {
        mirror.close();
        writing.release();
      },
      release() {
        if (settings.limitBytes === 0) removeDirectory(directory);
        releaseAll();
      },
    };
  } catch (cause) {
    releaseAll();
    throw new ModelError(
      `Opening the mirror of the model in ${directory} failed: ${(cause as Error).message}. ` +
        "Mend it, or let SHARDRUN_CACHE name another directory.",
      { cause },
    );
  }
}

/** Takes the lock of a file in a directory that may have to be made, also again: it may be evicted meanwhile. */
async function takeLock(
  directory: string,
  file: string,
  tryLock: () => FileLock | undefined,
  whileWaiting: () => Promise<void>,
): Promise<FileLock> {
  for (let waitedMs = 0; ; waitedMs += POLL_MS) {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    writeFileSync(join(directory, file), "", { flag: "a", mode: 0o600 });
    const lock = tryLock();
    if (lock !== undefined) return lock;
    if (waitedMs === QUIET_MS)
      say(`another process completes the mirror of the model in ${directory}; waiting for it.`);
    await whileWaiting();
    await sleep(POLL_MS);
  }
}
