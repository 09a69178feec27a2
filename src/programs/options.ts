/**
 * How the ready-made programs read their command lines: their own options and the launch options mixed, by one yargs set-up.
 */
import yargs, { type Options } from "yargs";
import { UsageError } from "../errors.ts";
import {
  bindSshArgs,
  explainYargsFailure,
  LAUNCH_OPTIONS,
  LAUNCH_PARSER_CONFIGURATION,
  readLaunchOptions,
  type LaunchOptions,
} from "../launch/options.ts";

/** Parsed options by their names on the command line. */
export type ProgramArguments = Readonly<Record<string, unknown>>;

/** A ready-made program: `shardrun NAME ...`. */
export interface Program {
  readonly name: string;
  readonly describe: string;
  /** What it can be told to do by a word after its name. */
  readonly words?: readonly string[];
  readonly options: Readonly<Record<string, Options>>;
  readonly examples: readonly (readonly [command: string, description: string])[];
  /** Whether -np starts ranks; else it is only a number for the program to compute with. */
  readonly runsOnRanks: boolean | ((options: ProgramArguments) => boolean);
  /**
   * Finds what is wrong with the options without running anything: the process that launches the ranks calls it first, so that a
   * mistake gives one message and no rank.
   */
  check?(options: ProgramArguments, launch: LaunchOptions): void;
  /** The same for what is read where rank 0 runs, the model and the prompts: called where that is this host. */
  checkWithModel?(options: ProgramArguments): Promise<void>;
  /** Where it takes several launches, one after the other: the variable that tells each of them from the others. */
  worlds?(options: ProgramArguments, launch: LaunchOptions): readonly string[] | undefined;
  /** Arguments that the launching process adds for its ranks: what only it can see. */
  rankArguments?(): readonly string[];
  /** What a conversation writes where a line is awaited; Ctrl-C is then the program's own business, and ends no ranks. */
  readonly prompt?: string;
  /** Runs on every rank; resolves to the exit code. */
  run(options: ProgramArguments, launch: LaunchOptions): Promise<number>;
}

const OWN = "Options:";

/** Reads the arguments after the program's name; `help` is set when that is what was asked for. */
export async function parseProgram(
  program: Program,
  args: readonly string[],
): Promise<{ readonly options: ProgramArguments; readonly launch: LaunchOptions; readonly help: string | undefined }> {
  const own = Object.entries(program.options).map(([name, option]) => [name, { group: OWN, ...option }] as const);
  const parser = yargs(bindSshArgs(args))
    .scriptName("shardrun")
    .usage(
      `Usage: $0 ${[program.name, ...(program.words ?? []).map((word) => `[${word}]`)].join(" ")} [options]\n\n${program.describe}`,
    )
    .help(false)
    .version(false)
    .options(Object.fromEntries(own))
    .options(LAUNCH_OPTIONS)
    .option("help", { type: "boolean", alias: "h", group: OWN, describe: "Show this help" })
    .example(program.examples.map(([command, description]) => [command, description] as [string, string]))
    .parserConfiguration(LAUNCH_PARSER_CONFIGURATION)
    .strictOptions()
    .exitProcess(false)
    .fail((message, error) => {
      throw message ? explainYargsFailure(message, program.name) : error;
    })
    .wrap(Math.min(110, process.stdout.columns ?? 110));
  const argv: ProgramArguments = await parser.parse();
  const typed = argv["_"] as readonly string[];
  const stray = typed.find((word, index) => index > 0 || !program.words?.includes(word));
  if (stray !== undefined) {
    throw new UsageError(
      `"${stray}" belongs to no option of shardrun ${program.name}. shardrun ${program.name} --help shows all options.`,
    );
  }
  return {
    options: argv,
    launch: readLaunchOptions(argv),
    help: argv["help"] === true ? await parser.getHelp() : undefined,
  };
}

/** An option that takes a value and may be given once; yargs hands over what was typed, numbers are read below. */
export const VALUE = { type: "string", requiresArg: true } as const;

/** The last value typed for an option. */
export function readText(options: ProgramArguments, name: string): string | undefined {
  const value = options[name] as string | readonly string[] | undefined;
  return typeof value === "object" ? value.at(-1) : value;
}

/**
 * A number typed for an option; what range it may have, the library says.
 * @throws {UsageError} when it is none
 */
export function readNumber(options: ProgramArguments, name: string): number | undefined {
  const text = readText(options, name);
  if (text === undefined) {
    return undefined;
  }
  const value = Number(text);
  if (text.trim() === "" || !Number.isFinite(value)) {
    throw new UsageError(`--${name} expects a number, received "${text}".`);
  }
  return value;
}
