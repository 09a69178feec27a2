/**
 * What shardrun itself has to say while it runs: one line on standard error, recognisable among the ranks' output.
 */
import { writeSync } from "node:fs";

const STDERR_FD = 2;

/** Says that something was not as asked, and that shardrun goes on. */
export function warn(message: string): void {
  say(`warning: ${message}`);
}

/** Says something that the user must know: why a run ended, what was chosen. */
export function say(message: string): void {
  process.stderr.write(`shardrun: ${message}\n`);
}

/** The same for threads beside the script's: their `process.stderr` would wait for its event loop, and it may be busy. */
export function sayAtOnce(message: string): void {
  writeSync(STDERR_FD, `shardrun: ${message}\n`);
}

/** Writes a picture of progress from any thread; one for which there is no room is left out, for another follows. */
export function writeAtOnce(text: string): void {
  try {
    writeSync(STDERR_FD, text);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EAGAIN") throw error;
  }
}
