/** The end of a rank as the others learn of it, and the sentences about ranks that do not find each other. */
import type { WorldIdentity } from "../environment.ts";
import type { Join, Process } from "./generated/rendezvous.ts";

/** The first cause for which a run cannot go on. */
export interface RankFailure {
  readonly rank: number;
  readonly host: string;
  readonly pid: number;
  /** Completes "rank 2 (hosta, PID 71) was lost: ...". */
  readonly reason: string;
  /** From the last sign of life to the notice. */
  readonly elapsedMs: number;
}

/** One sentence for people: who was lost, why, and for how long nothing had been heard. */
export function describeFailure({ rank, host, pid, reason, elapsedMs }: RankFailure): string {
  return `Rank ${rank} (${host}, PID ${pid}) was lost: ${reason}, ${elapsedMs} ms after its last sign of life.`;
}

/** Why a process that still existed was killed: the launcher will only see that it was. */
export function describeFencing(
  killer: WorldIdentity,
  rank: number,
  { host, pid }: Process,
  elapsedMs: number,
): string {
  return `rank ${rank} (${host}, PID ${pid}) had not answered for ${elapsedMs} ms and was killed by rank ${killer.rank}.`;
}

/** What rank 0 tells everyone when a joining rank does not fit the world. */
export function describeMisfit(
  joining: Join,
  world: Pick<Join, "version" | "worldSize" | "source">,
  root: Process,
  holder: Process | undefined,
): string | undefined {
  const newcomer = `rank ${joining.rank} (${nameProcess(joining.process)})`;
  const leader = `rank 0 (${nameProcess(root)})`;
  if (joining.version !== world.version) {
    return (
      `Different versions of shardrun: ${newcomer} runs ${joining.version}, ${leader} runs ${world.version}. ` +
      "Install the same version for all ranks."
    );
  }
  if (joining.worldSize !== world.worldSize) {
    return (
      `Different worlds: ${newcomer} expects ${joining.worldSize} ranks (${joining.source}), ` +
      `${leader} expects ${world.worldSize} (${world.source}). Start all ranks with the same number.`
    );
  }
  if (joining.rank >= world.worldSize) {
    return (
      `Rank ${joining.rank} is no rank of a world of ${world.worldSize}: ${newcomer} claims it. ` +
      `Start it with a rank from 0 to ${world.worldSize - 1}.`
    );
  }
  if (holder !== undefined) {
    return (
      `Two processes claim to be rank ${joining.rank}: ${nameProcess(holder)} joined first, then ${nameProcess(joining.process)}. ` +
      "Give each its own rank; a child process that a rank starts must not inherit its SHARDRUN_* variables."
    );
  }
  return undefined;
}

/** Not all ranks joined within the start timeout. */
export function describeIncomplete(
  identity: WorldIdentity,
  missingRanks: readonly number[],
  elapsedMs: number,
): string {
  const { worldSize } = identity;
  const missing = missingRanks.map((rank) => `rank ${rank}`).join(", ");
  return (
    `Rendezvous timed out after ${elapsedMs} ms on ${nameSelf(identity)}: ` +
    `${worldSize - missingRanks.length} of ${worldSize} ranks joined; missing: ${missing}. ${adviseOnMissing(identity)}`
  );
}

/** Rank 0 did not answer within the start timeout. `place` is where it was looked for, with what was seen there. */
export function describeUnreachable(identity: WorldIdentity, place: string, elapsedMs: number): string {
  return `Rendezvous timed out after ${elapsedMs} ms on ${nameSelf(identity)}: rank 0 was not found, ${place}. ${adviseOnMissing(identity)}`;
}

function adviseOnMissing({ engine, rank, worldSize, source, worldSizeSource }: WorldIdentity): string {
  const advice = "The missing ranks may have ended, see their output, or need more time: SHARDRUN_START_TIMEOUT_MS.";
  if (engine === "shardrun") return advice;
  return (
    `${advice} This process took itself for rank ${rank} of ${worldSize} because of ${source} and ${worldSizeSource}: ` +
    "to run it alone set SHARDRUN_WORLD_SIZE=1."
  );
}

function nameSelf({ rank, host }: WorldIdentity): string {
  return `rank ${rank} (${host})`;
}

function nameProcess(process: Process | undefined): string {
  return process === undefined ? "unknown process" : `${process.host}, PID ${process.pid}`;
}
