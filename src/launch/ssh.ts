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
}

/** How long ssh tries to connect. */
const CONNECT_TIMEOUT_S = 10;
/** Exit codes of START_SCRIPT and of ssh itself. */
const EXIT_CODE_NO_SHARDRUN = 91;
const EXIT_CODE_NO_NODE = 92;
const EXIT_CODE_SSH = 255;

/** Two keepalives without an answer, a second apart, are a cut cable. A connection of our own: a shared one has its own keepalives. */
const OPTIONS = [
  "BatchMode=yes",
  `ConnectTimeout=${CONNECT_TIMEOUT_S}`,
  "ServerAliveInterval=1",
  "ServerAliveCountMax=2",
];

/** $1: the launcher's Node, which is where most hosts have it too; $2: the agent. A login shell of any kind runs sh with it. */
const START_SCRIPT =
  `[ -f "$2" ] || exit ${EXIT_CODE_NO_SHARDRUN}; ` +
  `[ -x "$1" ] || set -- "$(command -v node)" "$2"; [ -n "$1" ] || exit ${EXIT_CODE_NO_NODE}; exec "$1" "$2" remote`;

/** The arguments of ssh that start an agent on a host. */
export function sshArguments({ name, user, port }: SshTarget, options: SshOptions): readonly string[] {
  const command = ["sh", "-c", START_SCRIPT, "sh", process.execPath, `${options.prefix}/dist/launch/agent.js`];
  return [
    ...options.sshArgs,
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
  const login = target.user === undefined ? name : `${target.user}@${name}`;
  const trial = [
    "ssh",
    ...options.sshArgs,
    ...(target.port === undefined ? [] : ["-p", target.port]),
    login,
    "true",
  ].join(" ");
  switch (exitCode) {
    case EXIT_CODE_NO_SHARDRUN:
      return (
        `Host "${name}" has no shardrun in ${options.prefix}. ` +
        `Install it there, or say where it is on the other hosts with --prefix DIRECTORY.`
      );
    case EXIT_CODE_NO_NODE:
      return (
        `Host "${name}" has no Node.js: neither ${process.execPath} nor a "node" in the PATH of commands run by ssh. ` +
        `Install Node.js 20 or later there.`
      );
    case EXIT_CODE_SSH:
      return (
        `Could not reach host "${name}" by ssh: ${lastLine.replace(/\.$/, "") || "ssh does not say why"}. ` +
        `Check that "${trial}" succeeds without asking for anything.`
      );
    case null:
    default:
      return (
        `The agent on host "${name}" did not start: ${lastLine || `exit code ${exitCode}`}. ` +
        `Check that "${trial}" succeeds, and that Node.js there is version 20 or later.`
      );
  }
}

/** One word of a POSIX shell; csh and fish read it the same way. */
function quote(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}
