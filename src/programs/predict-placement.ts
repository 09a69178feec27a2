/**
 * Where the ranks of a prediction run, and how much of the model each takes: from the ranks that were started, or, where none are, from
 * the hosts that the options name.
 */
import { availableParallelism } from "node:os";
import { environment, shareWorld } from "../api/world.ts";
import { chooseHosts } from "../launch/hosts.ts";
import type { LaunchOptions } from "../launch/options.ts";
import { placeRanks } from "../launch/placement.ts";
import type { Machine, Placement } from "../partition/predict.ts";

/** One per rank, in rank order. */
export interface RankPlaces {
  readonly hosts: readonly string[];
  /** Undefined: all the same. */
  readonly weights: readonly number[] | undefined;
}

/** The ranks of this world, as each says where it is. */
export async function findStartedRanks(): Promise<RankPlaces> {
  const ranks = await shareWorld()!.engine.request({ kind: "report" });
  return { hosts: ranks.map(({ host }) => host), weights: environment.rankWeights };
}

/** Of a hostfile or -H; without them each rank has a host to itself. A host named without slots has as many as this one has cores. */
export function placeNamedRanks(launch: LaunchOptions, numRanks: number): RankPlaces {
  if (launch.hostfile === undefined && launch.hostLists.length === 0) {
    return { hosts: Array.from({ length: numRanks }, (_, rank) => `host ${rank + 1}`), weights: undefined };
  }
  const cores = availableParallelism();
  const named = chooseHosts(launch, cores);
  const hosts = named.map(({ name, slots = cores }) => ({ name, slots }));
  const places = placeRanks(hosts, { ...launch, numRanks }).map(({ host }) => host);
  const weights = places.map((place) => named.find(({ name }) => name === place)!.weight);
  return {
    hosts: places,
    weights: weights.every((weight) => weight === undefined) ? undefined : weights.map((weight) => weight ?? 1),
  };
}

/** The first `numRanks` of them. @param threads of each rank, or all cores that it has to itself */
export function placeFirst(
  { hosts }: RankPlaces,
  numRanks: number,
  { threads, oneMachine }: { readonly threads: number | "auto"; readonly oneMachine: boolean },
): Placement {
  const numCores = availableParallelism();
  const used = hosts.slice(0, numRanks);
  const ranksOf = (host: string): number[] => used.flatMap((name, rank) => (name === host ? [rank] : []));
  const machineOf = (ranks: readonly number[]): Machine => ({
    ranks,
    numCores,
    threadsPerRank: threads === "auto" ? Math.max(1, Math.floor(numCores / ranks.length)) : threads,
  });
  const byHost = [...new Set(used)].map(ranksOf);
  return {
    hosts: byHost.map(({ length }) => length),
    machines: oneMachine ? [machineOf(used.map((_, rank) => rank))] : byHost.map(machineOf),
  };
}
