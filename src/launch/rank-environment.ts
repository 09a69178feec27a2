/**
 * The environment that ranks are given: the user's, what -x adds, and who they are, in the words of shardrun, Open MPI
 * and torchrun, so that a program written for any of them finds its rank.
 */
import { definedVariables, type Variables } from "../environment.ts";
import { shareOf } from "./binding.ts";
import type { RankPlace } from "./placement.ts";
import type { RunIdentity } from "./run-identity.ts";

/** The variables that are the same for every rank. */
export function runVariables(run: RunIdentity): Record<string, string> {
  const { host, port } = run.coordinator;
  return {
    SHARDRUN_WORLD_SIZE: String(run.worldSize),
    SHARDRUN_RUN_ID: run.runId,
    SHARDRUN_COORDINATOR: `${host.includes(":") ? `[${host}]` : host}:${port}`,
    SHARDRUN_SECRET: run.secret,
    ...definedVariables({
      SHARDRUN_START_TIMEOUT_MS: run.startTimeoutMs?.toString(),
      SHARDRUN_RANK_WEIGHTS: run.rankWeights?.join(","),
      SHARDRUN_TLS_CERT: run.tls?.certificateFile,
      SHARDRUN_TLS_KEY: run.tls?.keyFile,
      SHARDRUN_TLS_CA: run.tls?.authorityFile,
    }),
    OMPI_COMM_WORLD_SIZE: String(run.worldSize),
    OMPI_UNIVERSE_SIZE: String(run.numSlots),
    WORLD_SIZE: String(run.worldSize),
    MASTER_ADDR: host,
    MASTER_PORT: String(port),
  };
}

/** The variables that say which rank a process is. */
export function rankVariables({ rank, host, localRank, localWorldSize }: RankPlace): Record<string, string> {
  return {
    SHARDRUN_RANK: String(rank),
    SHARDRUN_LOCAL_RANK: String(localRank),
    SHARDRUN_LOCAL_WORLD_SIZE: String(localWorldSize),
    SHARDRUN_HOST: host,
    OMPI_COMM_WORLD_RANK: String(rank),
    OMPI_COMM_WORLD_LOCAL_RANK: String(localRank),
    OMPI_COMM_WORLD_LOCAL_SIZE: String(localWorldSize),
    OMPI_COMM_WORLD_NODE_RANK: String(localRank),
    RANK: String(rank),
    LOCAL_RANK: String(localRank),
    LOCAL_WORLD_SIZE: String(localWorldSize),
  };
}

/** The devices that a rank may see: its share of those that the hostfile gives its host; none are named where it names none. */
export function deviceVariables(
  devices: readonly number[] | undefined,
  { localRank, localWorldSize }: RankPlace,
): Record<string, string> {
  if (devices === undefined) return {};
  const visible = shareOf(devices, localRank, localWorldSize).join(",");
  return { CUDA_VISIBLE_DEVICES: visible, HIP_VISIBLE_DEVICES: visible };
}

/** What -x asks for, and which of it could not be given. */
export interface Exports {
  readonly variables: Record<string, string>;
  /** One sentence for each variable or pattern that is not set here. */
  readonly warnings: readonly string[];
}

/** Understands the values of -x: NAME (as it is here), NAME=value, or a pattern like FOO*. */
export function resolveExports(exports: readonly string[], environment: Variables): Exports {
  const variables: Record<string, string> = {};
  const warnings: string[] = [];
  for (const item of exports) {
    const equals = item.indexOf("=");
    if (equals > 0) {
      variables[item.slice(0, equals)] = item.slice(equals + 1);
      continue;
    }
    const names = item.endsWith("*")
      ? Object.keys(environment).filter((name) => name.startsWith(item.slice(0, -1)))
      : [item];
    const found = names.filter((name) => environment[name] !== undefined);
    for (const name of found) variables[name] = environment[name]!;
    if (found.length === 0) {
      warnings.push(
        `could not find an environment variable "${item}" to hand on (-x ${item}); the ranks start without it.`,
      );
    }
  }
  return { variables, warnings };
}
