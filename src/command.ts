/**
 * The command line: `shardrun [options] PROGRAM ...` launches any program, `shardrun NAME ...` runs a ready-made one.
 * A ready-made program with ranks launches this same command line again, once per rank. Arguments in, exit code out.
 */
import { createRequire } from "node:module";
import { readEnvironment } from "./environment.ts";
import { EXIT_CODE_READER_GONE, launch } from "./launch/launcher.ts";
import { parseLaunchCommand } from "./launch/options.ts";
import { isRootHere } from "./launch/targets.ts";
import { parseProgram, type Program } from "./programs/options.ts";

/** Ready-made programs, loaded when named: a launcher of other programs needs none of their code. */
const PROGRAMS: Readonly<Record<string, () => Promise<Program>>> = {
  generate: async () => (await import("./programs/generate.ts")).generate,
  chat: async () => (await import("./programs/chat.ts")).chat,
  plan: async () => (await import("./programs/plan.ts")).plan,
  bench: async () => (await import("./programs/bench.ts")).bench,
  cache: async () => (await import("./programs/cache.ts")).cache,
  check: async () => (await import("./programs/check.ts")).check,
  info: async () => (await import("./programs/info.ts")).info,
};

/** @throws {ShardrunError} when it cannot be carried out */
export async function runCommand(args: readonly string[]): Promise<number> {
  const [name = "", ...rest] = args;
  const load = Object.hasOwn(PROGRAMS, name) ? PROGRAMS[name] : undefined;
  return load === undefined ? launchCommand(args) : runProgram(await load(), rest);
}

async function launchCommand(args: readonly string[]): Promise<number> {
  const command = await parseLaunchCommand(args);
  switch (command.kind) {
    case "help":
      console.log(`${command.text}\n\nReady-made programs: ${Object.keys(PROGRAMS).join(", ")}; shardrun NAME --help`);
      return 0;
    case "version":
      console.log((createRequire(import.meta.url)("../package.json") as { version: string }).version);
      return 0;
    case "run":
      return launch(command.options, { words: command.command });
  }
}

async function runProgram(program: Program, args: readonly string[]): Promise<number> {
  const { options, launch: launchOptions, help } = await parseProgram(program, args);
  if (help !== undefined) {
    console.log(help);
    return 0;
  }
  const isRank = readEnvironment().identity.engine !== "none";
  const numRanks = launchOptions.numRanks ?? 1;
  const { runsOnRanks } = program;
  const startsRanks = typeof runsOnRanks === "function" ? runsOnRanks(options) : runsOnRanks;
  if (!startsRanks || isRank || numRanks === 1) {
    process.stdout.on("error", endWithReader);
    return program.run(options, launchOptions);
  }
  program.check?.(options, launchOptions);
  if (isRootHere(launchOptions)) await program.checkWithModel?.(options);
  const command = { entry: "cli.js", words: [program.name, ...args, ...(program.rankArguments?.() ?? [])] };
  const { prompt } = program;
  const worlds = program.worlds?.(options, launchOptions)?.map((setting) => [setting]) ?? [[]];
  let exitCode = 0;
  for (const settings of worlds) {
    exitCode ||= await launch(
      { ...launchOptions, numRanks, prompt, exports: [...launchOptions.exports, ...settings] },
      command,
    );
  }
  return exitCode;
}

/** A reader that has seen enough, as `| head` has, ends the program: that is no failure to explain. */
function endWithReader(error: NodeJS.ErrnoException): void {
  if (error.code !== "EPIPE") throw error;
  process.exit(EXIT_CODE_READER_GONE);
}
