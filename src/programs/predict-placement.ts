/**
 * Where the ranks of a prediction run, and how much of the model each takes: from the ranks that were started, or, where none are, from
 * the hosts that the options name.
 */
import { availableParallelism } from "node:os";
import { environment, shareWorld } from "../api/world.ts";
import type { RankReport } from "../execute/rank.ts";
import { chooseHosts } from "../launch/hosts.ts";
import type { LaunchOptions } from "../launch/options.ts";
import { placeRanks } from "../launch/placement.ts";
import { warn } from "../log.ts";
import type { Placement } from "../partition/predict.ts";

/** One per rank, in rank order. */
export interface RankPlaces {
  readonly hosts: readonly string[];
  /** Hosts of one machine share its cores and its memory, as containers do. */
  readonly machines: readonly string[];
  /** Undefined: all the same. */
  readonly weights: readonly number[] | undefined;
}

/** The ranks of this world, as each says where it is. Warns of hosts that may not be as fast as this one. */
export async function findStartedRanks(): Promise<RankPlaces> {
  const ranks = await shareWorld()!.engine.request({ kind: "report" });
  describeUnlike(ranks).forEach(warn);
  return {
    hosts: ranks.map(({ host }) => host),
    machines: ranks.map(({ host, bootId }) => bootId || host),
    weights: environment.rankWeights,
  };
}

/** A sentence for each host that has other processors than rank 0's. */
export function describeUnlike(ranks: readonly Pick<RankReport, "host" | "processors">[]): string[] {
  const [root] = ranks;
  const unlike = ranks.filter(({ processors }) => processors !== root!.processors);
  return [...new Map(unlike.map(({ host, processors }) => [host, processors]))].map(
    ([host, processors]) =>
      `${host} has ${processors}, ${root!.host} has ${root!.processors}: both are taken to be as fast as ${root!.host}.`,
  );
}

/**
 * Of a hostfile or -H; without them each rank has a host to itself. A host named without slots has as many as this one has cores.
 * @param onOneMachine they are containers of one
 */
export function placeNamedRanks(launch: LaunchOptions, numRanks: number, onOneMachine: boolean): RankPlaces {
  const machinesOf = (hosts: readonly string[]): readonly string[] => (onOneMachine ? hosts.map(() => "") : hosts);
  if (launch.hostfile === undefined && launch.hostLists.length === 0) {
    const hosts = Array.from({ length: numRanks }, (_, rank) => `host ${rank + 1}`);
    return { hosts, machines: machinesOf(hosts), weights: undefined };
  }
  const cores = availableParallelism();
  const named = chooseHosts(launch, cores);
  const hosts = named.map(({ name, slots = cores }) => ({ name, slots }));
  const places = placeRanks(hosts, { ...launch, numRanks }).map(({ host }) => host);
  const weights = places.map((place) => named.find(({ name }) => name === place)!.weight);
  return {
    hosts: places,
    machines: machinesOf(places),
    weights: weights.every((weight) => weight === undefined) ? undefined : weights.map((weight) => weight ?? 1),
  };
}

/** The first `numRanks` of them. @param threads of each rank, or all cores that it has to itself on its host */
export function placeFirst({ hosts, machines }: RankPlaces, numRanks: number, threads: number | "auto"): Placement {
  const numCores = availableParallelism();
  const ranksByHost = groupRanks(hosts.slice(0, numRanks));
  const mostOfAHost = (ranks: readonly number[]): number =>
    Math.max(...ranksByHost.filter(([first]) => ranks.includes(first!)).map(({ length }) => length));
  return {
    hosts: ranksByHost.map(({ length }) => length),
    machines: groupRanks(machines.slice(0, numRanks)).map((ranks) => ({
      ranks,
      numCores,
      threadsPerRank: threads === "auto" ? Math.max(1, Math.floor(numCores / mostOfAHost(ranks))) : threads,
    })),
  };
}

/** The ranks of each place. */
function groupRanks(places: readonly string[]): number[][] {
  const ranks = places.map((_, rank) => rank);
  return [...new Set(places)].map((place) => ranks.filter((rank) => places[rank] === place));
}
