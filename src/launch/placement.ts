/**
 * Places ranks on hosts: rank 0 on the first slot of the first host, and on, as --map-by says. Pure.
 */
import { UsageError } from "../errors.ts";
import type { Host } from "./hosts.ts";

/** Where one rank runs. */
export interface RankPlace {
  readonly rank: number;
  readonly host: string;
  /** Its number among the ranks of its host. */
  readonly localRank: number;
  readonly localWorldSize: number;
}

export interface PlacementOptions {
  /** How many ranks; undefined: one for every slot. */
  readonly numRanks?: number;
  /** Allow more ranks than slots. */
  readonly oversubscribe: boolean;
  /** --map-by; undefined: slot. */
  readonly mapBy?: MapBy;
  /** --rank-by; undefined: in the order in which --map-by deals. */
  readonly rankBy?: RankBy;
}

/**
 * How ranks are dealt out: a host's slots first (numa: with the host's ranks taking turns among its NUMA domains), hosts in
 * turn, or so many to each host.
 */
export type MapBy = "slot" | "numa" | "node" | { readonly perHost: number };

/** How the dealt ranks are numbered: host by host, or hosts in turn. */
export type RankBy = "slot" | "node";

/**
 * Gives every rank a host. By slot, neighbours share a host, and ranks beyond the slots are dealt out evenly; by node, hosts
 * take turns; by ppr, each host takes the same number. How many a host has is settled then; --rank-by only numbers them.
 * @throws {UsageError} when there are more ranks than slots and oversubscribe is false, or more than ppr has room for
 */
export function placeRanks(hosts: readonly Host[], options: PlacementOptions): readonly RankPlace[] {
  const { mapBy = "slot", oversubscribe } = options;
  if (typeof mapBy !== "object") return placeInSlots(hosts, options, mapBy);
  const { perHost } = mapBy;
  const numRanks = options.numRanks ?? perHost * hosts.length;
  if (numRanks > perHost * hosts.length) {
    throw new UsageError(
      `--map-by ppr:${perHost}:node has room for ${perHost * hosts.length} ranks on ${hosts.length} hosts, ` +
        `received -np ${numRanks}. Ask for fewer ranks, or for more per host.`,
    );
  }
  const isShort = hosts.some(({ slots }) => slots < perHost);
  if (isShort && !oversubscribe) throw notEnoughSlots(hosts, perHost * hosts.length, countSlots(hosts));
  const room = hosts.map((host) => ({ ...host, slots: perHost }));
  return placeInSlots(room, { ...options, numRanks }, "slot");
}

function placeInSlots(
  hosts: readonly Host[],
  options: PlacementOptions,
  mapBy: "slot" | "numa" | "node",
): readonly RankPlace[] {
  const numSlots = countSlots(hosts);
  const numRanks = options.numRanks ?? numSlots;
  const numExtra = Math.max(0, numRanks - numSlots);
  if (numExtra > 0 && !options.oversubscribe) throw notEnoughSlots(hosts, numRanks, numSlots);
  const room = hosts.map(({ name, slots }, index) => {
    const extra = Math.floor(numExtra / hosts.length) + (index < numExtra % hosts.length ? 1 : 0);
    return Array<string>(slots + extra).fill(name);
  });
  const dealt = (mapBy === "node" ? takeTurns(room) : room.flat()).slice(0, numRanks);
  const order = numberRanks(dealt, options.rankBy);
  return order.map((host, rank) => ({
    rank,
    host,
    localRank: order.slice(0, rank).filter((other) => other === host).length,
    localWorldSize: order.filter((other) => other === host).length,
  }));
}

/** The hosts of the ranks, as dealt, in the order of the ranks' numbers. */
function numberRanks(dealt: readonly string[], rankBy: RankBy | undefined): readonly string[] {
  if (rankBy === undefined) return dealt;
  const ofHosts = [...new Set(dealt)].map((host) => dealt.filter((other) => other === host));
  return rankBy === "slot" ? ofHosts.flat() : takeTurns(ofHosts);
}

/** [a, a, a], [b] -> a, b, a, a */
function takeTurns(lists: readonly (readonly string[])[]): readonly string[] {
  const numTurns = Math.max(...lists.map(({ length }) => length));
  return Array.from({ length: numTurns }, (_, turn) => lists.flatMap((list) => list.slice(turn, turn + 1))).flat();
}

/** All slots of all hosts: mpirun's "universe". */
export function countSlots(hosts: readonly Host[]): number {
  return hosts.reduce((sum, host) => sum + host.slots, 0);
}

/** mpirun's sentence, so that whoever knows it recognises it. */
function notEnoughSlots(hosts: readonly Host[], numRanks: number, numSlots: number): UsageError {
  const offers = hosts.map((host) => `${host.name} has ${host.slots}`).join(", ");
  return new UsageError(
    `There are not enough slots available in the system to satisfy the ${numRanks} slots that were requested: ${offers}. ` +
      `Ask for at most ${numSlots} ranks (-np ${numSlots}), give the hosts more slots, ` +
      `or let ranks share slots with --oversubscribe.`,
  );
}

/** The places for people, one host a line: "hosta: ranks 0, 1". */
export function drawMap(hosts: readonly Host[], places: readonly RankPlace[]): string {
  return hosts
    .map(({ name, slots }) => {
      const ranks = places.filter(({ host }) => host === name).map(({ rank }) => rank);
      const what = ranks.length === 0 ? "no rank" : `rank${ranks.length === 1 ? "" : "s"} ${ranks.join(", ")}`;
      return `${name} (${slots} slot${slots === 1 ? "" : "s"}): ${what}\n`;
    })
    .join("");
}
