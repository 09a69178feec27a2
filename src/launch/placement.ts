/**
 * Places ranks on hosts, slot by slot: rank 0 on the first slot of the first host, and on. Pure.
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
}

/**
 * Gives every rank a host. Ranks beyond the slots are dealt out evenly, each host's ranks staying neighbours.
 * @throws {UsageError} when there are more ranks than slots and oversubscribe is false
 */
export function placeRanks(hosts: readonly Host[], options: PlacementOptions): readonly RankPlace[] {
  const numSlots = countSlots(hosts);
  const numRanks = options.numRanks ?? numSlots;
  const numExtra = Math.max(0, numRanks - numSlots);
  if (numExtra > 0 && !options.oversubscribe) throw notEnoughSlots(hosts, numRanks, numSlots);
  const places: RankPlace[] = [];
  hosts.forEach((host, index) => {
    const extra = Math.floor(numExtra / hosts.length) + (index < numExtra % hosts.length ? 1 : 0);
    const localWorldSize = Math.min(host.slots + extra, numRanks - places.length);
    for (let localRank = 0; localRank < localWorldSize; localRank++) {
      places.push({ rank: places.length, host: host.name, localRank, localWorldSize });
    }
  });
  return places;
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
