/** Where the cache lies and how large it may grow: what the environment and the caller say, read and checked. */
import { cacheDirectory, cacheLimit } from "../environment.ts";
import { UsageError } from "../errors.ts";

export interface CacheSettings {
  readonly directory: string;
  /** 0: nothing is kept. */
  readonly limitBytes: number;
}

/** Room for some models of 7 B parameters with 4 bit each. */
const DEFAULT_LIMIT_BYTES = 32e9;

const UNITS: Readonly<Record<string, number>> = {
  "": 1,
  B: 1,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KIB: 2 ** 10,
  MIB: 2 ** 20,
  GIB: 2 ** 30,
  TIB: 2 ** 40,
};

/**
 * The settings of this process.
 * @param limitBytes what the caller asked for; left out: SHARDRUN_CACHE_LIMIT, else 32 GB
 * @throws {UsageError} when SHARDRUN_CACHE_LIMIT is no size
 */
export function readCacheSettings(limitBytes?: number): CacheSettings {
  const limit = cacheLimit();
  return {
    directory: cacheDirectory(),
    limitBytes:
      limitBytes ?? (limit === undefined ? DEFAULT_LIMIT_BYTES : parseByteSize(limit, "SHARDRUN_CACHE_LIMIT is")),
  };
}

/**
 * Reads "20GB", "1.5 GiB" or a number of bytes.
 * @param subject begins the message: who said so, and its verb ("--cache-limit is")
 * @throws {UsageError} when it is no size
 */
export function parseByteSize(text: string, subject: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([A-Z]*)$/i.exec(text.trim());
  const unit = match === null ? undefined : UNITS[match[2]!.toUpperCase()];
  if (match === null || unit === undefined) {
    throw new UsageError(`${subject} "${text}": expected a size like 20GB, 500MB or 1.5GiB, or a number of bytes.`);
  }
  return Math.floor(Number(match[1]) * unit);
}

/** "4.12 GB"; decimal units, as disks are sold. */
export function formatByteSize(bytes: number): string {
  if (bytes < 1e3) return `${bytes} bytes`;
  const [name, unit] = bytes < 1e6 ? ["KB", 1e3] : bytes < 1e9 ? ["MB", 1e6] : ["GB", 1e9];
  return `${(bytes / unit).toPrecision(3)} ${name}`;
}
