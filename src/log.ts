/**
 * What shardrun itself has to say while it runs: one line on standard error, recognisable among the ranks' output.
 */

/** Says that something was not as asked, and that shardrun goes on. */
export function warn(message: string): void {
  say(`warning: ${message}`);
}

/** Says something that the user must know: why a run ended, what was chosen. */
export function say(message: string): void {
  process.stderr.write(`shardrun: ${message}\n`);
}
