/**
 * The launcher's options: the words on a command line in, checked settings out. Typed as mpirun's users type them, with
 * one dash or two. The launcher's own command line ends at the first word that is no option: the program, whose arguments
 * are its own. The ready-made programs mix these options with theirs and share the table and the reading.
 */
import { resolve } from "node:path";
import yargs, { type Argv, type Options } from "yargs";
import type { TlsFiles } from "../environment.ts";
import { UsageError } from "../errors.ts";
import type { BindTo } from "./binding.ts";
import { insteadOfMpirunOption } from "./mpirun-options.ts";
import type { MapBy, RankBy } from "./placement.ts";

/** How a command is launched; everything is optional. */
export interface LaunchOptions {
  /** -np: how many ranks; undefined: one for every slot. */
  readonly numRanks?: number;
  readonly hostfile?: string;
  /** The values of -H. */
  readonly hostLists: readonly string[];
  readonly oversubscribe: boolean;
  readonly mapBy: MapBy;
  /** Undefined: ranks are numbered in the order in which mapBy deals them. */
  readonly rankBy?: RankBy;
  readonly displayMap: boolean;
  /** The values of -x. */
  readonly exports: readonly string[];
  readonly workingDirectory?: string;
  /** The rank that reads standard input; "none": none does; undefined: rank 0. */
  readonly stdinRank?: number | "none";
  readonly tagOutput: boolean;
  readonly timestampOutput: boolean;
  readonly outputDirectory?: string;
  readonly timeoutMs?: number;
  readonly startTimeoutMs?: number;
  /** The network interface, by name or address, at which rank 0 is found by the other hosts. */
  readonly interface?: string;
  /** --ssh-args: words that go before all others in every ssh command line. */
  readonly sshArgs: readonly string[];
  /** --prefix: where shardrun is installed on other hosts; undefined: where it is on this one. */
  readonly prefix?: string;
  /** --push: other hosts run a copy of this installation, which is made where it is not there yet. */
  readonly push: boolean;
  /** Certificates for the control channel between hosts, as absolute paths. */
  readonly tls?: TlsFiles;
  readonly bindTo: BindTo;
  readonly reportBindings: boolean;
  /**
   * Set when the ranks hold a conversation: what they write where a line is awaited. Lines typed at a terminal are edited here,
   * and an interrupt goes on to the ranks, which know what to do with it; else it ends them.
   */
  readonly prompt?: string | undefined;
}

/** What the launcher's own command line asks for. */
export type LaunchCommand =
  | { readonly kind: "run"; readonly options: LaunchOptions; readonly command: readonly string[] }
  | { readonly kind: "help"; readonly text: string }
  | { readonly kind: "version" };

const PLACE = "Where ranks run:";
const REACH = "How other hosts are reached:";
const GIVE = "What ranks are given:";
const OUTPUT = "What they write:";
const END = "When they end:";
const HELP = "Help:";

/** One value per mention; `yargs` would otherwise take every following word. */
const REPEATED = { type: "string", array: true, requiresArg: true } as const;
const SINGLE = { type: "string", requiresArg: true } as const;

/** The table of launch options, for yargs. */
export const LAUNCH_OPTIONS = {
  np: { ...SINGLE, alias: ["n", "c"], group: PLACE, describe: "How many ranks; without it, one per slot" },
  hostfile: {
    ...SINGLE,
    alias: "machinefile",
    group: PLACE,
    describe: 'File of hosts, one a line: "localhost slots=2"',
  },
  host: { ...REPEATED, alias: "H", group: PLACE, describe: "Hosts with their slots: a:2,b:4" },
  oversubscribe: { type: "boolean", group: PLACE, describe: "Allow more ranks than slots" },
  "map-by": {
    ...SINGLE,
    group: PLACE,
    describe: "slot (usual), node: hosts in turn, numa: NUMA domains in turn, or ppr:N:node: N on each host",
  },
  "rank-by": { ...SINGLE, group: PLACE, describe: "Number them by slot or by node; without it, as they are mapped" },
  "display-map": { type: "boolean", group: PLACE, describe: "Say which ranks run on which host" },
  "bind-to": {
    ...SINGLE,
    group: PLACE,
    describe: "core: each rank's share of the cores; numa: its NUMA domain, usual with --map-by numa; none: else usual",
  },
  "report-bindings": { type: "boolean", group: PLACE, describe: "Say which cores each rank is bound to" },
  prefix: { ...SINGLE, group: REACH, describe: "Where shardrun is installed there; without it, as on this host" },
  push: { type: "boolean", group: REACH, describe: "Copy this shardrun into the other hosts' caches, once" },
  "ssh-args": { ...REPEATED, group: REACH, describe: 'Options for ssh, as in --ssh-args "-i key -F config"' },
  interface: { ...SINGLE, group: REACH, describe: "Name or address of the network interface where rank 0 is found" },
  "tls-cert": { ...SINGLE, group: REACH, describe: "PEM file: the certificate by which ranks know each other" },
  "tls-key": { ...SINGLE, group: REACH, describe: "PEM file: its key" },
  "tls-ca": { ...SINGLE, group: REACH, describe: "PEM file: who signed it; without it, whom the system trusts" },
  x: { ...REPEATED, group: GIVE, describe: "Environment variable: NAME, NAME=value or PREFIX*" },
  wdir: { ...SINGLE, alias: "wd", group: GIVE, describe: "Working directory; without it, this one" },
  stdin: { ...SINGLE, group: GIVE, describe: "The rank that reads standard input, or none; without it, 0" },
  "tag-output": { type: "boolean", group: OUTPUT, describe: "Begin each line with [job,rank]<stream>:" },
  "timestamp-output": { type: "boolean", group: OUTPUT, describe: "Begin each line with the time" },
  "output-filename": { ...SINGLE, group: OUTPUT, describe: "Also write DIRECTORY/1/rank.N/stdout and stderr" },
  timeout: { ...SINGLE, group: END, describe: "End the ranks after this many seconds, with exit code 110" },
  "start-timeout": { ...SINGLE, group: END, describe: "Seconds that ranks wait for each other at the start" },
  "allow-run-as-root": { type: "boolean", hidden: true }, // mpirun insists on it; typed by habit
} as const satisfies Record<string, Options>;

/** How yargs must read a command line for these options: -np is one option, and -x takes one word. */
export const LAUNCH_PARSER_CONFIGURATION = {
  "short-option-groups": false,
  "greedy-arrays": false,
  "dot-notation": false,
  "parse-numbers": false,
  "parse-positional-numbers": false,
  "boolean-negation": false,
  "camel-case-expansion": false,
} as const;

/**
 * Reads the launcher's own command line: [options] PROGRAM [arguments].
 * @throws {UsageError} for an unknown option, a missing or impossible value, a missing program
 */
export async function parseLaunchCommand(args: readonly string[]): Promise<LaunchCommand> {
  const programIndex = findProgramIndex(args);
  const parser = createParser(args.slice(0, programIndex));
  const argv = await parser.parse();
  if (argv.help) return { kind: "help", text: await parser.getHelp() };
  if (argv.version) return { kind: "version" };
  const options = readLaunchOptions(argv);
  const command = args.slice(args[programIndex] === "--" ? programIndex + 1 : programIndex);
  if (command.length === 0) {
    throw new UsageError(
      `There is no program to run. Name it after the options, e.g. shardrun -np 2 node script.mjs; shardrun --help shows all options.`,
    );
  }
  return { kind: "run", options, command };
}

/**
 * Checks the launch options that yargs has parsed.
 * @throws {UsageError} naming the option, what it needs and what it got
 */
export function readLaunchOptions(argv: Readonly<Record<string, unknown>>): LaunchOptions {
  const text = (name: string): string | undefined => lastOf(argv[name]);
  const mapBy = readMapBy(text("map-by"));
  return {
    numRanks: readInteger("-np", text("np"), 1, "the number of ranks"),
    hostfile: text("hostfile"),
    hostLists: listOf(argv.host),
    oversubscribe: argv.oversubscribe === true,
    mapBy,
    rankBy: readRankBy(text("rank-by")),
    displayMap: argv["display-map"] === true,
    exports: listOf(argv.x),
    workingDirectory: text("wdir"),
    stdinRank: text("stdin") === "none" ? "none" : readInteger("--stdin", text("stdin"), 0, "a rank, or none"),
    tagOutput: argv["tag-output"] === true,
    timestampOutput: argv["timestamp-output"] === true,
    outputDirectory: text("output-filename"),
    timeoutMs: readSeconds("--timeout", text("timeout")),
    startTimeoutMs: readSeconds("--start-timeout", text("start-timeout")),
    interface: text("interface"),
    sshArgs: listOf(argv["ssh-args"]).flatMap((words) => words.split(/\s+/).filter(Boolean)),
    prefix: text("prefix"),
    push: readPush(argv.push === true, text("prefix")),
    tls: readTls(text("tls-cert"), text("tls-key"), text("tls-ca")),
    bindTo: readBindTo(text("bind-to") ?? (mapBy === "numa" ? "numa" : "none")),
    reportBindings: argv["report-bindings"] === true,
  };
}

const HELP_EPILOGUE = `Options may be typed with one dash or two, and end at the first word that is none: what follows the program is its own.

Exit code: 0 when every rank exits with 0; else that of the first rank that fails (128 + signal when one killed it), and the others are ended. 110: --timeout. 132: no such program. 135: no such --wdir. 1: wrong options, or ended by Ctrl-C.`;

/**
 * Turns yargs' complaint about a command line into a sentence that says what to do.
 * @param program the ready-made program whose options were read; "": the launcher's own
 */
export function explainYargsFailure(message: string, program = ""): UsageError {
  const help = `${["shardrun", program, "--help"].filter(Boolean).join(" ")} shows`;
  const unknown = /^Unknown arguments?: ([^,]+)/.exec(message)?.[1];
  if (unknown !== undefined) {
    const dashed = withDashes(unknown);
    const instead = insteadOfMpirunOption(unknown);
    return new UsageError(
      instead === undefined
        ? `Unknown option ${dashed}. ${help} all options${program === "" ? "; options of your program go after its name" : ""}.`
        : `mpirun's option ${dashed} does not exist in shardrun. ${instead}.`,
    );
  }
  const lacking = /^Not enough arguments following: (.+)$/.exec(message)?.[1];
  if (lacking !== undefined) {
    return new UsageError(`The option ${withDashes(lacking)} needs a value. ${help} what it takes.`);
  }
  return new UsageError(message);
}

/** An option as it is usually typed: -np, -x, --timeout. */
function withDashes(name: string): string {
  return name.length <= 2 ? `-${name}` : `--${name}`;
}

/** Options for ssh begin with a dash themselves, which yargs would take for options of its own: they are tied to --ssh-args. */
export function bindSshArgs(args: readonly string[]): string[] {
  const isName = (word: string | undefined): boolean => word === "--ssh-args" || word === "-ssh-args";
  return args.flatMap((word, index) => {
    if (isName(args[index - 1])) return [];
    return isName(word) && args[index + 1] !== undefined ? [`--ssh-args=${args[index + 1]}`] : [word];
  });
}

/** Where the options end: at the first word that is neither an option nor the value of one, or at "--". */
function findProgramIndex(args: readonly string[]): number {
  const valued = Object.entries(LAUNCH_OPTIONS).filter(([, { type }]) => type === "string");
  const valuedNames = new Set(
    valued.flatMap(([name, option]) => [name, "alias" in option ? option.alias : []].flat(2)),
  );
  let index = 0;
  for (let word = args[index]; word?.startsWith("-") && word !== "--"; word = args[index]) {
    index += valuedNames.has(word.replace(/^--?/, "")) ? 2 : 1;
  }
  return Math.min(index, args.length);
}

function createParser(args: readonly string[]): Argv {
  return yargs(bindSshArgs(args))
    .scriptName("shardrun")
    .help(false)
    .version(false)
    .usage("Runs a program as several ranks of one world.\n\nUsage: $0 [options] PROGRAM [arguments]")
    .options(LAUNCH_OPTIONS)
    .option("help", { type: "boolean", alias: "h", group: HELP, describe: "Show this page" })
    .option("version", { type: "boolean", alias: "V", group: HELP, describe: "Show the version" })
    .example("$0 -np 2 node generate.mjs", "Two ranks on this host")
    .example("$0 -np 8 --oversubscribe --tag-output node generate.mjs", "More ranks than cores, lines tagged")
    .example("$0 -hostfile hosts -x HF_HOME node generate.mjs", "As many ranks as the hostfile has slots")
    .epilogue(HELP_EPILOGUE)
    .updateStrings({ string: "value", boolean: "flag", array: "value, repeatable" })
    .parserConfiguration(LAUNCH_PARSER_CONFIGURATION)
    .strictOptions()
    .exitProcess(false)
    .fail((message, error) => {
      throw message ? explainYargsFailure(message) : error;
    })
    .wrap(Math.min(100, process.stdout.columns ?? 100));
}

function lastOf(value: unknown): string | undefined {
  return listOf(value).at(-1);
}

function listOf(value: unknown): readonly string[] {
  return value === undefined ? [] : [value].flat().map(String);
}

function readInteger(option: string, text: string | undefined, least: number, what: string): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (/^[0-9]{1,9}$/.test(text) && value >= least) return value;
  throw new UsageError(`${option} expects ${what}, a whole number of at least ${least}, received "${text}".`);
}

function readSeconds(option: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const seconds = Number(text);
  // A timer of Node counts milliseconds in 31 bits.
  if (/^[0-9]*\.?[0-9]+$/.test(text) && seconds > 0 && seconds <= 2_000_000) return Math.ceil(seconds * 1000);
  throw new UsageError(`${option} expects a number of seconds greater than 0 and at most 2000000, received "${text}".`);
}

function readMapBy(text: string | undefined): MapBy {
  if (text === undefined) return "slot";
  if (text === "slot" || text === "node" || text === "numa") return text;
  const perHost = /^ppr:([1-9][0-9]{0,5}):node$/.exec(text)?.[1];
  if (perHost !== undefined) return { perHost: Number(perHost) };
  throw new UsageError(`--map-by expects slot, node, numa or ppr:N:node, received "${text}".`);
}

function readRankBy(text: string | undefined): RankBy | undefined {
  if (text === undefined || text === "slot" || text === "node") return text;
  throw new UsageError(`--rank-by expects slot or node, received "${text}".`);
}

function readBindTo(text: string): BindTo {
  if (text === "core" || text === "numa" || text === "none") return text;
  throw new UsageError(`--bind-to expects core, numa or none, received "${text}".`);
}

function readPush(isAsked: boolean, prefix: string | undefined): boolean {
  if (!isAsked || prefix === undefined) return isAsked;
  throw new UsageError(
    `--push copies shardrun to the other hosts, --prefix ${prefix} says that it is there already. Give one of them.`,
  );
}

/** Ranks may have another working directory, so the files are named by their whole paths. */
function readTls(certificate?: string, key?: string, authority?: string): TlsFiles | undefined {
  if (certificate === undefined && key === undefined && authority === undefined) return undefined;
  if (certificate !== undefined && key !== undefined) {
    const authorityFile = authority === undefined ? undefined : resolve(authority);
    return { certificateFile: resolve(certificate), keyFile: resolve(key), authorityFile };
  }
  const lacking = [...(certificate === undefined ? ["--tls-cert"] : []), ...(key === undefined ? ["--tls-key"] : [])];
  throw new UsageError(
    `TLS between hosts needs a certificate and its key: ${lacking.join(" and ")} ${lacking.length === 1 ? "is" : "are"} missing. ` +
      `Give --tls-cert and --tls-key, and --tls-ca for an authority of your own; or none of them.`,
  );
}
