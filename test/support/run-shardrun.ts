/**
 * Runs the compiled command as a user does: arguments, standard input and environment in; exit code and output out.
 * A run that does not end in time is killed, and says so.
 */
import { spawn } from "node:child_process";
import { join } from "node:path";

const ROOT = join(import.meta.dirname, "../..");
/** The command; `node COMMAND ...` is `shardrun ...`. */
export const COMMAND = join(ROOT, "dist/cli.js");

export interface RunOptions {
  /** Standard input; nothing unless given. */
  readonly stdin?: string;
  /** Added to the environment of the tests; undefined takes a variable away. */
  readonly environment?: Readonly<Record<string, string | undefined>>;
  readonly workingDirectory?: string;
  readonly timeoutMs?: number;
  /** Closes the command's standard output after the first byte, as `| head -c 1` does. */
  readonly readOneByte?: boolean;
}

export interface RunResult {
  /** Null when the command was killed. */
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `shardrun ARGS`. */
export function runShardrun(args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  return runNode([COMMAND, ...args], options);
}

/** Runs `node ARGS`. @throws when it does not end in time */
export async function runNode(args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const { stdin = "", environment = {}, workingDirectory = ROOT, timeoutMs = 50_000, readOneByte = false } = options;
  const child = spawn(process.execPath, args, {
    cwd: workingDirectory,
    env: { ...process.env, NODE_OPTIONS: undefined, ...environment },
  });
  let stdout = "";
  let stderr = "";
  let isLate = false;
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    stdout += chunk;
    if (readOneByte) child.stdout.destroy();
  });
  child.stderr.setEncoding("utf8").on("data", (chunk: string) => (stderr += chunk));
  child.stdin.on("error", () => {}); // a command that ends early reads no input
  child.stdin.end(stdin);
  const timer = setTimeout(() => {
    isLate = true;
    child.kill("SIGKILL");
  }, timeoutMs);
  const exitCode = await new Promise<number | null>((resolve, reject) =>
    child.on("error", reject).on("close", resolve),
  );
  clearTimeout(timer);
  if (isLate) {
    throw new Error(`node ${args.join(" ")} did not end within ${timeoutMs} ms.\nstdout: ${stdout}\nstderr: ${stderr}`);
  }
  return { exitCode, stdout, stderr };
}
