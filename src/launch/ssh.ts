/**
 * How ssh is asked to start an agent on another host, and what its failures mean: a host in, a command line out; an exit
 * code and the last words of ssh in, a sentence with a remedy out. Pure.
 */

/** Where and as whom ssh connects; what is not given is left to the user's ssh configuration. */
export interface SshTarget {
  readonly name: string;
  readonly user?: string;
  readonly port?: number;
}

/** The user's say in how other hosts are reached. */
export interface SshOptions {
  /** --ssh-args: words for every ssh command line, before ours, so that they win. */
  readonly sshArgs: readonly string[];
  /** --prefix: where shardrun is installed on other hosts. */
  readonly prefix: string;
  /** The prefix is below the cache directory of the other host, where --push has put it. */
  readonly isInCache?: boolean;
}

/** How long ssh tries to connect. */
const CONNECT_TIMEOUT_S = 10;
/** Exit codes of START_SCRIPT and of ssh itself. */
const EXIT_CODE_NO_SHARDRUN = 91;
const EXIT_CODE_NO_NODE = 92;
export const EXIT_CODE_SSH = 255;

/** Two keepalives without an answer, a second apart, are a cut cable. A connection of our own: a shared one has its own keepalives. */
const OPTIONS = [
  "BatchMode=yes",
  `ConnectTimeout=${CONNECT_TIMEOUT_S}`,
  "ServerAliveInterval=1",
  "ServerAliveCountMax=2",
];

/** The cache directory of the host on which a script runs. */
export const CACHE_DIRECTORY = "${SHARDRUN_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/shardrun}";

/**
 * $1: the launcher's Node, which is where most hosts have it too; $2: the agent; $3: not empty where $2 is below the cache
 * directory. A login shell of any kind runs sh with it.
 */
const START_SCRIPT =
  `[ -z "$3" ] || set -- "$1" "${CACHE_DIRECTORY}/$2"; [ -f "$2" ] || exit ${EXIT_CODE_NO_SHARDRUN}; ` +
  `[ -x "$1" ] || set -- "$(command -v node)" "$2"; [ -n "$1" ] || exit ${EXIT_CODE_NO_NODE}; exec "$1" "$2" remote`;

/** The arguments of ssh that start an agent on a host. */
export function agentArguments(target: SshTarget, { sshArgs, prefix, isInCache = false }: SshOptions): string[] {
  const words = [process.execPath, `${prefix}/dist/launch/agent.js`, isInCache ? "cache" : ""];
  return sshArguments(target, sshArgs, ["sh", "-c", START_SCRIPT, "sh", ...words]);
}

/** The arguments of ssh that run a command on a host. */
export function sshArguments(
  { name, user, port }: SshTarget,
  sshArgs: readonly string[],
  command: readonly string[],
): string[] {
  return [
    ...sshArgs,
    ...[...OPTIONS, "ControlPath=none"].flatMap((option) => ["-o", option]),
    "-T",
    ...(port === undefined ? [] : ["-p", String(port)]),
    "--", // a host is never taken for an option
    user === undefined ? name : `${user}@${name}`,
    `exec ${command.map(quote).join(" ")}`,
  ];
}

/** How an agent on another host ended before it had said hello. */
export interface FailedStart {
  /** Null: ssh was ended by a signal. */
  readonly exitCode: number | null;
  /** The last line on standard error: ssh's own, or the remote shell's. */
  readonly lastLine: string;
}

/** Why a host cannot take part, and what to do. */
export function explainFailedStart(
  target: SshTarget,
  options: SshOptions,
  { exitCode, lastLine }: FailedStart,
): string {
  const { name } = target;
  switch (exitCode) {
    case EXIT_CODE_NO_SHARDRUN:
      return (
        `Host "${name}" has no shardrun in ${options.prefix}. ` +
        `Install it there, say where it is on the other hosts with --prefix DIRECTORY, or have it copied there with --push.`
      );
    case EXIT_CODE_NO_NODE:
      return (
        `Host "${name}" has no Node.js: neither ${process.execPath} nor a "node" in the PATH of commands run by ssh. ` +
        `Install Node.js 20 or later there.`
      );
    case EXIT_CODE_SSH:
      return explainUnreachable(target, options.sshArgs, lastLine);
    case null:
    default:
      return (
        `The agent on host "${name}" did not start: ${lastLine || `exit code ${exitCode}`}. ` +
        `Check that "${trialOf(target, options.sshArgs)}" succeeds, and that Node.js there is version 20 or later.`
      );
  }
}

/** Why ssh did not get to a host (exit code EXIT_CODE_SSH), and how to find out. */
export function explainUnreachable(target: SshTarget, sshArgs: readonly string[], lastLine: string): string {
  return (
    `Could not reach host "${target.name}" by ssh: ${lastLine.replace(/\.$/, "") || "ssh does not say why"}. ` +
    `Check that "${trialOf(target, sshArgs)}" succeeds without asking for anything${adviseOn(lastLine)}.`
  );
}

/** What usually lies behind ssh's words. */
function adviseOn(lastLine: string): string {
  if (/Permission denied/.test(lastLine)) return ": ssh-copy-id, with the same options, lets your key in";
  if (/Host key verification failed/.test(lastLine)) {
    return ": typed by hand it shows the host's key, which is not known here or has changed, and says what to do";
  }
  if (/Could not resolve/.test(lastLine)) return ": the name may be misspelt, or need an entry in ~/.ssh/config";
  if (/refused|timed out|No route|unreachable/.test(lastLine)) {
    return ": the host may be off, its sshd not running or at another port (port=N), or a firewall between";
  }
  return "";
}

/** What a user types to see that ssh gets there. */
function trialOf({ name, user, port }: SshTarget, sshArgs: readonly string[]): string {
  const login = user === undefined ? name : `${user}@${name}`;
  return ["ssh", ...sshArgs, ...(port === undefined ? [] : ["-p", port]), login, "true"].join(" ");
}

/** One word of a POSIX shell; csh and fish read it the same way. */
function quote(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}
