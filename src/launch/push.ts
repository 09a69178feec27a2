/**
 * --push: other hosts get a copy of this installation over ssh, once, into their cache. In: a host and what is to be there. Out:
 * nothing, once it is there; a copy that breaks off leaves nothing that would be taken for whole.
 */
import { machine as machineName, type } from "node:os";
import { text } from "node:stream/consumers";
import type { Variables } from "../environment.ts";
import { LaunchError } from "../errors.ts";
import { say } from "../log.ts";
import type { InstallationCopy } from "./installation.ts";
import { startSshProcess, startTarProcess } from "./processes.ts";
import {
  CACHE_DIRECTORY,
  EXIT_CODE_SSH,
  explainUnreachable,
  sshArguments,
  type SshOptions,
  type SshTarget,
} from "./ssh.ts";

const EXIT_CODE_OTHER_MACHINE = 93;
const EXIT_CODE_NO_TAR = 94;
const ABSENT = "absent\n";

/** Below the cache directory of a host. */
export function cachePathOf({ name }: InstallationCopy): string {
  return `installations/${name}`;
}

/** How many copies a host keeps: this one, and those of the versions that were used last. */
const NUM_KEPT = 3;
/** A copy that was asked for in the last hour may be about to be started from. */
const KEPT_MINUTES = 60;

/**
 * Takes copies (and drafts that broke off) that are no longer used out of $directory's parent, the longest unused ones, but none
 * from which an agent runs. The pattern goes through a pipe, so that grep does not find itself; what is to be deleted loses its
 * name first, so that nobody takes a half for whole.
 */
const TIDY_SCRIPT =
  `cd "\${directory%/*}" && ls -t | tail -n +${NUM_KEPT + 1} | while read -r name; do ` +
  `[ -n "$(find "$name" -prune -mmin +${KEPT_MINUTES})" ] || continue; ` +
  `echo "installations/$name/dist/" | grep -qsF -f - /proc/[0-9]*/cmdline && continue; ` +
  `mv "$name" "$name.draft.$$" && rm -rf "$name.draft.$$"; done`;

/**
 * $1: where, below the cache directory; $2: system and machine for which this installation is built. Reads a tar stream if it has
 * said that nothing is there yet. The directory gets its name when all has arrived; its time tells when it was last asked for.
 */
const RECEIVE_SCRIPT =
  `directory="${CACHE_DIRECTORY}/$1"; tidy() { (${TIDY_SCRIPT}) 2>/dev/null; }; ` +
  `touch -c "$directory" 2>/dev/null; [ -d "$directory" ] && { tidy; exit 0; }; ` +
  `[ "$(uname -sm)" = "$2" ] || { uname -sm >&2; exit ${EXIT_CODE_OTHER_MACHINE}; }; ` +
  `command -v tar >/dev/null || exit ${EXIT_CODE_NO_TAR}; printf 'absent\\n'; ` +
  `draft="$directory.draft.$$"; mkdir -p "$draft" && tar -xf - -C "$draft" || { rm -rf "$draft"; exit 1; }; ` +
  `[ -d "$directory" ] && rm -rf "$draft" || mv "$draft" "$directory" || exit 1; ` +
  `touch "$directory"; tidy; exit 0`;

/**
 * Sees to it that a host has this copy.
 * @throws {LaunchError} when the host cannot be reached, is of another kind, lacks tar, or has no room
 */
export async function pushInstallation(
  target: SshTarget & SshOptions,
  copy: InstallationCopy,
  variables: Variables,
): Promise<void> {
  const machine = `${type()} ${machineName()}`;
  const command = ["sh", "-c", RECEIVE_SCRIPT, "sh", cachePathOf(copy), machine];
  const ssh = startSshProcess(sshArguments(target, target.sshArgs, command), variables);
  ssh.stdin.on("error", () => {}); // a host that refuses reads no further; its exit code says why
  ssh.stdout.once("data", (chunk: Buffer) => {
    if (chunk.toString("latin1") !== ABSENT) return ssh.stdin.end();
    say(`copying shardrun ${copy.name} (${(copy.numBytes / 2 ** 20).toFixed(0)} MiB) to host ${target.name}.`);
    const tar = startTarProcess(copy.root, copy.files);
    tar.stdout.pipe(ssh.stdin, { end: false });
    tar.once("error", () => ssh.kill("SIGKILL"));
    // A stream that ends here is taken for whole there.
    tar.once("close", (code) => (code === 0 ? ssh.stdin.end() : ssh.kill("SIGKILL")));
  });
  const words = text(ssh.stderr!);
  const exitCode = await new Promise<number | null>((resolve) => ssh.once("close", resolve));
  if (exitCode === 0) return;
  const lines = (await words).trim().split("\n");
  const lastLine = lines.find((line) => line.startsWith("tar: ")) ?? lines.at(-1) ?? "";
  throw new LaunchError(explainFailedPush(target, copy, machine, { exitCode, lastLine }), { host: target.name });
}

function explainFailedPush(
  target: SshTarget & SshOptions,
  copy: InstallationCopy,
  machine: string,
  { exitCode, lastLine }: { readonly exitCode: number | null; readonly lastLine: string },
): string {
  switch (exitCode) {
    case EXIT_CODE_OTHER_MACHINE:
      return (
        `Could not copy shardrun to host "${target.name}": it is a ${lastLine}, this installation is built for ${machine}. ` +
        `Install shardrun there with npm, and say with --prefix DIRECTORY where.`
      );
    case EXIT_CODE_NO_TAR:
      return `Could not copy shardrun to host "${target.name}": there is no tar. Install it there.`;
    case EXIT_CODE_SSH:
      return explainUnreachable(target, target.sshArgs, lastLine);
    case null:
      return (
        `Could not copy shardrun to host "${target.name}": reading this installation in ${copy.root} failed. ` +
        `Check that tar is installed here, and that nothing changes the installation meanwhile.`
      );
    default:
      return (
        `Could not copy shardrun to host "${target.name}": ${lastLine || `exit code ${exitCode}`}. ` +
        `Make room for ${Math.ceil(copy.numBytes / 2 ** 20)} MiB in its ~/.cache, or let SHARDRUN_CACHE name another directory there.`
      );
  }
}
