/**
 * What the launcher asks of an agent, and what it hears back: plain data that travels as JSON in frames.
 */

/** One host's part of a run, sent on the agent's standard input, never in argv (`ps` would show the secret). */
export interface AgentJob {
  /** The name of the host, as messages and ranks call it. */
  readonly host: string;
  /** Program and arguments, the same for every rank. */
  readonly command: readonly string[];
  readonly workingDirectory: string;
  /** The environment that all ranks of the host share. */
  readonly environment: Readonly<Record<string, string>>;
  readonly ranks: readonly RankJob[];
  /** The rank that reads the launcher's standard input; the others read nothing. */
  readonly stdinRank?: number;
}

/** What is particular to one rank. */
export interface RankJob {
  readonly rank: number;
  /** Added to the host's environment. */
  readonly environment: Readonly<Record<string, string>>;
  /** The processors the rank is bound to, as the kernel numbers them; absent = unbound. */
  readonly processors?: readonly number[];
}

/** Why an agent started nothing, or could not start a rank. */
export interface Refusal {
  readonly message: string;
  readonly exitCode: number;
}

/** How a rank's process ended. */
export interface RankExit {
  readonly rank: number;
  readonly host: string;
  readonly pid: number;
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** Milliseconds since the epoch on the rank's host. */
  readonly atMs: number;
  /** True when it ended because it was told to (a failure elsewhere, a signal to the launcher, a timeout). */
  readonly onRequest: boolean;
}
