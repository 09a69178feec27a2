#!/usr/bin/env node
/**
 * The command `shardrun`: launches a program as the ranks of one world.
 */
import { readFileSync } from "node:fs";
import { ShardrunError } from "./errors.ts";
import { launch } from "./launch/launcher.ts";
import { parseLaunchCommand } from "./launch/options.ts";
import { say } from "./log.ts";

async function main(args: readonly string[]): Promise<number> {
  const command = await parseLaunchCommand(args);
  switch (command.kind) {
    case "run":
      return launch(command.options, command.command);
    case "help":
      console.log(command.text);
      return 0;
    case "version":
      console.log(readVersion());
      return 0;
  }
}

function readVersion(): string {
  const description = readFileSync(new URL("../package.json", import.meta.url), "utf8");
  return (JSON.parse(description) as { version: string }).version;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof ShardrunError)) throw error;
  say(error.message);
  process.exitCode = 1;
}
