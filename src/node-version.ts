/** Imported first wherever shardrun begins: an older Node would fail later, in words that nobody understands. */
import { UsageError } from "./errors.ts";

export const OLDEST_NODE_MAJOR = 20;

/** @param version as process.version has it */
export function isNodeTooOld(version: string): boolean {
  return Number(/^v(\d+)/.exec(version)?.[1]) < OLDEST_NODE_MAJOR;
}

if (isNodeTooOld(process.version)) {
  throw new UsageError(
    `shardrun needs Node.js ${OLDEST_NODE_MAJOR} or later, ${process.execPath} is ${process.version}. ` +
      "Install a newer one, or put it first in PATH.",
  );
}
