/**
 * Which processors a rank is bound to: a host's cores and NUMA domains and the rank's place there in, processors out; as
 * --bind-to and --map-by say. Unlike mpirun, which binds to a single core, a rank of ours gets a share: it computes with several
 * threads. Pure.
 */
import { UsageError } from "../errors.ts";
import type { AgentHello } from "./job.ts";
import type { MapBy, RankPlace } from "./placement.ts";
import type { Core } from "./processors.ts";

/** What ranks are bound to: their share of the host's cores, a whole NUMA domain, or nothing. */
export type BindTo = "core" | "numa" | "none";

export interface BindingOptions {
  readonly bindTo: BindTo;
  readonly mapBy: MapBy;
}

/**
 * The processors of one rank, as the kernel numbers them; undefined: it is not bound.
 * @throws {UsageError} when ranks would share a core although they were to be bound to their own
 */
export function bindRank(
  { cores, numaDomains }: Pick<AgentHello, "cores" | "numaDomains">,
  { host, localRank, localWorldSize }: RankPlace,
  { bindTo, mapBy }: BindingOptions,
): readonly number[] | undefined {
  if (bindTo === "none") return undefined;
  const numDomains = numaDomains.length;
  if (bindTo === "numa") {
    if (numDomains === 1) return undefined; // there is nothing to choose
    const domain = mapBy === "numa" ? localRank % numDomains : Math.floor((localRank * numDomains) / localWorldSize);
    return numaDomains[domain]!.flat();
  }
  requireCores(host, localWorldSize, cores.length);
  if (mapBy !== "numa") return shareOf(cores, localRank, localWorldSize).flat();
  // Domains take turns: 0 1 0 1 0 are ranks 0 2 4 of the first and 1 3 of the second.
  const domain = localRank % numDomains;
  const numBesides = Math.ceil((localWorldSize - domain) / numDomains);
  return shareOf(numaDomains[domain]!, Math.floor(localRank / numDomains), numBesides).flat();
}

/** One of `count` equal shares of a list, neighbours together, at least one item where there is any. */
export function shareOf<T>(items: readonly T[], index: number, count: number): readonly T[] {
  const first = Math.floor((index * items.length) / count);
  const end = Math.floor(((index + 1) * items.length) / count);
  return items.slice(first, Math.max(end, first + 1));
}

/** mpirun's picture of a binding: "core 1: [./B]", one letter per core of the host. */
export function drawBinding(cores: readonly Core[], bound: readonly Core[]): string {
  const indices = bound.map((core) => cores.indexOf(core));
  const letters = cores.map((core) => (bound.includes(core) ? "B" : ".")).join("/");
  return `core ${indices.join(", core ")}: [${letters}]`;
}

function requireCores(host: string, numRanks: number, numCores: number): void {
  if (numRanks <= numCores) return;
  throw new UsageError(
    `--bind-to core cannot give ${numRanks} ranks a core of their own: host ${host} has ${numCores}. ` +
      `Ask for at most ${numCores} ranks, or leave out --bind-to.`,
  );
}
