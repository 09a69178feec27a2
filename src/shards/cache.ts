/**
 * The cache: files that cost time to make (converted weights, pulled shards, checkpoints of random weights) are kept under a key
 * that is different for everything that would make them different. An entry appears whole or not at all; of several processes that want the
 * same one, one makes it and the others wait for it. Whatever is wrong with the cache's disk, the program goes on without it.
 */
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { FileLock } from "../collective/native.ts";
import { warn } from "../log.ts";
import {
  directoryName,
  isIntact,
  LOCK_FILE,
  measureDirectory,
  noteUse,
  writeManifest,
  type EntryName,
} from "./cache-entry.ts";
import { countFreeBytes, prune, removeDirectory, type LockFile } from "./cache-eviction.ts";
import { formatByteSize, type CacheSettings } from "./cache-settings.ts";

/** An entry that stays on the disk until it is released or the process ends. */
export interface CacheEntry {
  /** Holds the files that were made; read-only. */
  readonly directory: string;
  release(): void;
}

/** What is wanted, and what it takes to make it. */
export interface EntryRequest extends EntryName {
  /** What its files will take on the disk, about. */
  readonly expectedBytes: number;
}

/** A maker shows that it lives as often; one that has not for LOST_MAKER_MS is not waited for. */
const SIGN_OF_LIFE_MS = 1_000;
const LOST_MAKER_MS = 30_000;
/** What the exclusive lock of a removal lasts at most, unless its process is frozen. */
const REMOVAL_MS = 2_000;
const POLL_MS = 50;

export class Cache {
  readonly #settings: CacheSettings;
  readonly #lockFile: LockFile;

  /** @param lockFile the addon's */
  constructor(settings: CacheSettings, lockFile: LockFile) {
    this.#settings = settings;
    this.#lockFile = lockFile;
  }

  /** An entry that is there and whole, from now on in use; undefined when there is none. */
  async open(name: EntryName): Promise<CacheEntry | undefined> {
    const directory = join(this.#settings.directory, directoryName(name));
    const lock = await this.#share(directory);
    if (lock === undefined) return undefined;
    if (!(await isIntact(directory, name))) {
      lock.release();
      return undefined;
    }
    noteUse(directory);
    return { directory, release: () => lock.release() };
  }

  /**
   * An entry that is there, or that `make` fills now. Undefined, after a warning, where nothing can be kept.
   * @param make writes the entry's files into an empty directory; what it throws passes through, but for errors of the system
   */
  async openOrMake(
    request: EntryRequest,
    make: (directory: string) => Promise<void> | void,
  ): Promise<CacheEntry | undefined> {
    const entry = await this.open(request);
    if (entry !== undefined || this.#settings.limitBytes === 0) return entry;
    const directory = join(this.#settings.directory, directoryName(request));
    let lock: FileLock | undefined;
    try {
      lock = await this.#claimDraft(directory);
    } catch (error) {
      return this.#goWithout(error as Error);
    }
    // Whoever waited for another maker finds what that one made; it may also be finished since this one looked.
    const finished = await this.open(request);
    if (finished !== undefined || lock === undefined || !this.#makeRoom(request)) {
      if (lock !== undefined) dropDraft(directory, lock);
      return finished;
    }
    const signOfLife = setInterval(() => noteUse(draftOf(directory)), SIGN_OF_LIFE_MS);
    try {
      await make(draftOf(directory));
      return await finishDraft(directory, request, lock);
    } catch (error) {
      dropDraft(directory, lock);
      if (!isSystemError(error)) throw error;
      return this.#goWithout(error);
    } finally {
      clearInterval(signOfLife);
    }
  }

  /** The lock of an empty draft, now this process's to fill; undefined when another process has made the entry, or is stuck. */
  async #claimDraft(directory: string): Promise<FileLock | undefined> {
    const draft = draftOf(directory);
    let lastSign: string | undefined;
    for (let quietMs = 0; quietMs < LOST_MAKER_MS; quietMs += POLL_MS) {
      const lock = this.#tryClaim(draft);
      if (lock !== undefined) return lock;
      await sleep(POLL_MS);
      if (existsSync(directory)) return undefined;
      const sign = readSignOfLife(draft);
      if (sign !== lastSign) quietMs = 0;
      lastSign = sign;
    }
    warnOnce(
      `another process has been making ${draft} and stands still for ${LOST_MAKER_MS / 1000} s. Going on without it; ` +
        "end that process if it is frozen.",
    );
    return undefined;
  }

  /** Undefined while another process fills this draft, or when it has just gone. */
  #tryClaim(draft: string): FileLock | undefined {
    mkdirSync(this.#settings.directory, { recursive: true, mode: 0o700 });
    if (!existsSync(draft)) mkdirSync(draft, { mode: 0o700 });
    try {
      writeFileSync(join(draft, LOCK_FILE), "", { flag: "a", mode: 0o600 });
      const lock = this.#lockFile(join(draft, LOCK_FILE), "exclusive");
      // What a process that was killed has left.
      const leftovers = lock === undefined ? [] : readdirSync(draft).filter((name) => name !== LOCK_FILE);
      for (const name of leftovers) rmSync(join(draft, name), { recursive: true });
      return lock;
    } catch (error) {
      if (!existsSync(draft)) return undefined;
      throw error;
    }
  }

  /** Removes what was used longest ago until the entry fits; false, after a warning, when it cannot. */
  #makeRoom({ label, expectedBytes }: EntryRequest): boolean {
    const { directory, limitBytes } = this.#settings;
    const notKept = `${label} (${formatByteSize(expectedBytes)}) is not kept in the cache ${directory}`;
    if (expectedBytes > limitBytes) {
      warnOnce(
        `${notKept}, whose limit is ${formatByteSize(limitBytes)}, so it is made again at every start. ` +
          "Raise the limit with --cache-limit or SHARDRUN_CACHE_LIMIT.",
      );
      return false;
    }
    prune(directory, { maxBytes: limitBytes - expectedBytes, freeBytes: expectedBytes }, this.#lockFile);
    const freeBytes = countFreeBytes(directory);
    if (freeBytes >= expectedBytes) return true;
    warnOnce(`${notKept}, where ${formatByteSize(freeBytes)} are free, so it is made again at every start. ${REMEDY}`);
    return false;
  }

  #goWithout(error: Error): undefined {
    warnOnce(
      `the cache ${this.#settings.directory} cannot be used: ${error.message}. Going on without it, so that what it would ` +
        `keep is made again at every start. ${REMEDY}`,
    );
  }

  /** The lock of a user; undefined when there is no such entry. */
  async #share(directory: string): Promise<FileLock | undefined> {
    const path = join(directory, LOCK_FILE);
    for (let waitedMs = 0; existsSync(path) && waitedMs < REMOVAL_MS; waitedMs += POLL_MS) {
      try {
        const lock = this.#lockFile(path, "shared");
        if (lock !== undefined) return lock;
      } catch {
        return undefined; // not for this user, or gone this moment
      }
      await sleep(POLL_MS); // being removed
    }
    return undefined;
  }
}

const REMEDY = "Make room there, or let SHARDRUN_CACHE name another directory.";

function draftOf(directory: string): string {
  return `${directory}.draft`;
}

/** The draft becomes the entry, in use by this process from the start. */
async function finishDraft(directory: string, name: EntryName, lock: FileLock): Promise<CacheEntry> {
  await writeManifest(draftOf(directory), name);
  if (existsSync(directory)) removeDirectory(directory); // damaged, or it would have been opened
  lock.share();
  renameSync(draftOf(directory), directory);
  return { directory, release: () => lock.release() };
}

function dropDraft(directory: string, lock: FileLock): void {
  try {
    removeDirectory(draftOf(directory));
  } catch {
    // A disk in trouble; the next maker empties what is left.
  }
  lock.release();
}

/** What changes while a maker is alive. */
function readSignOfLife(draft: string): string {
  try {
    return `${measureDirectory(draft)} ${statSync(join(draft, LOCK_FILE)).mtimeMs}`;
  } catch {
    return "gone";
  }
}

function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return typeof (error as NodeJS.ErrnoException).errno === "number";
}

const warned = new Set<string>();

/** One trouble is told once, however many weights and models meet it. */
function warnOnce(message: string): void {
  if (!warned.has(message)) warn(message);
  warned.add(message);
}
