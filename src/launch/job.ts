/**
 * What the launcher asks of an agent, and what it hears back: plain data that travels as JSON in frames.
 */
import { createRequire } from "node:module";
import type { Core } from "./processors.ts";

/** Of this shardrun; a launcher and its agents must be of one version. */
export const { version: VERSION } = createRequire(import.meta.url)("../../package.json") as {
  readonly version: string;
};

/** What an agent says first, before it has a job: who it is and what its host offers. */
export interface AgentHello {
  /** Of shardrun on its host. */
  readonly version: string;
  /** The cores that ranks of this host may use. */
  readonly cores: readonly Core[];
  /** The same cores by NUMA domain. */
  readonly numaDomains: readonly (readonly Core[])[];
  /** A port of this host that nobody listens on, where rank 0's coordinator can. */
  readonly freePort: number;
  /** The addresses of each network interface. */
  readonly addresses: Readonly<Record<string, readonly string[]>>;
  /** SSH_CONNECTION, where ssh started it: "client-address port server-address port". */
  readonly sshConnection?: string;
}

/** One host's part of a run, sent on the agent's standard input, never in argv (`ps` would show the secret). */
export interface AgentJob {
  /** The name of the host, as messages and ranks call it. */
  readonly host: string;
  /** Program and arguments, the same for every rank. */
  readonly command: readonly string[];
  /** A file of shardrun's compiled code: the host's own Node runs its own copy of it, and `command` is its arguments. */
  readonly entry?: string;
  readonly workingDirectory: string;
  /** Whether ranks begin in the home directory where there is no such working directory, as mpirun has it without --wdir. */
  readonly mayBeginAtHome?: boolean;
  /** The environment that all ranks of the host share. */
  readonly environment: Readonly<Record<string, string>>;
  /** Whether ranks also have what is set on their host, as on another host than the launcher's. */
  readonly addsHostEnvironment?: boolean;
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
  /** It was killed for having been stopped for so long while the others waited for it. */
  readonly stoppedMs?: number | undefined;
  /** True when it ended because it was told to (a failure elsewhere, a signal to the launcher, a timeout). */
  readonly onRequest: boolean;
}
