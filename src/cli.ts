#!/usr/bin/env node
/** The command `shardrun`: sees that this Node can read the rest before it is read, and says in one line what goes wrong. */
import { readEnvironment } from "./environment.ts";
import { ShardrunError } from "./errors.ts";
import { say } from "./log.ts";

/** On several hosts "does not exist" means little without a name, if the message has none. */
function nameRank(message: string): string {
  if (/\brank \d+ \(/.test(message)) return "";
  try {
    const { hosts, identity } = readEnvironment();
    return hosts === "several" ? `rank ${identity.rank} (${identity.host}): ` : "";
  } catch {
    return ""; // the environment itself is what is wrong
  }
}

try {
  await import("./node-version.ts");
  const { runCommand } = await import("./command.ts");
  process.exitCode = await runCommand(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof ShardrunError)) throw error;
  say(`${nameRank(error.message)}${error.message}`);
  process.exitCode = 1;
}
