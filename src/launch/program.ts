/**
 * Finds the program that the ranks will run, the way execvp does, before any rank is started:
 * so that a typing error gives one message instead of one per rank.
 */
import { accessSync, constants, statSync, type Stats } from "node:fs";
import { delimiter, resolve } from "node:path";
import type { AgentJob, Refusal } from "./job.ts";

/** mpirun's exit codes for what is wrong before anything runs. */
export const EXIT_CODE_NO_PROGRAM = 132;
export const EXIT_CODE_NO_WORKING_DIRECTORY = 135;

/** The path of the job's program, or why the job cannot start. */
export function findProgram(job: AgentJob): { readonly path: string } | Refusal {
  if (!isDirectory(job.workingDirectory)) {
    return {
      exitCode: EXIT_CODE_NO_WORKING_DIRECTORY,
      message:
        `The working directory "${job.workingDirectory}" does not exist on host ${job.host}, or is not a directory. ` +
        `No rank was started. Create it, or give another one with --wdir.`,
    };
  }
  const name = job.command[0] ?? "";
  const hasPath = name.includes("/");
  const searchPath = job.environment.PATH ?? "/usr/bin:/bin";
  const candidates = hasPath ? [name] : searchPath.split(delimiter).map((directory) => `${directory || "."}/${name}`);
  const files = candidates.map((path) => resolve(job.workingDirectory, path)).filter(isFile);
  const path = files.find(isExecutable);
  if (path !== undefined) return { path };
  const reason =
    files[0] !== undefined
      ? `"${files[0]}" is not executable. Run chmod +x on it, or name its interpreter first (node, python3, sh).`
      : hasPath
        ? `there is no such file (looked in ${job.workingDirectory}). Check its spelling and --wdir.`
        : `no directory in PATH has it. Check its spelling, or give its path.`;
  return {
    exitCode: EXIT_CODE_NO_PROGRAM,
    message: `Could not find the program "${name}" on host ${job.host}: ${reason} No rank was started.`,
  };
}

export function isDirectory(path: string): boolean {
  return status(path)?.isDirectory() ?? false;
}

function isFile(path: string): boolean {
  return status(path)?.isFile() ?? false;
}

/** Undefined also where a directory on the way may not be entered, or is a file. */
function status(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch {
    return undefined;
  }
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
