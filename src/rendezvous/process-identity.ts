/**
 * Which process a number means: a pid is given out again after its owner's death, pid and start time together are not.
 * Needed to end a frozen rank without hitting a stranger.
 */
import { readFileSync } from "node:fs";
import type { Process } from "./generated/rendezvous.ts";

/** This process, as peers know it. */
export function describeSelf(host: string): Process {
  return { host, pid: process.pid, startTime: readStartTime(process.pid) ?? 0n };
}

/**
 * Ends a process of this host with SIGKILL, which a stopped process obeys too. Returns false, and does nothing, unless the pid
 * still belongs to the process that was meant.
 * @param announce called just before: the launcher ends everything as soon as it sees the process die
 */
export function fenceProcess(target: Process, announce = (): void => {}): boolean {
  if (target.startTime === 0n || readStartTime(target.pid) !== target.startTime) return false;
  announce();
  try {
    process.kill(target.pid, "SIGKILL");
    return true;
  } catch {
    return false; // gone between the two looks, or not ours to end
  }
}

/** Clock ticks from boot to the start of the process; undefined when it does not exist or the system has no /proc. */
export function readStartTime(pid: number): bigint | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    // The second field is the program's name in parentheses and may hold anything; field 22 counts from its end.
    const field = stat.slice(stat.lastIndexOf(")") + 2).split(" ")[22 - 3];
    return field === undefined ? undefined : BigInt(field);
  } catch {
    return undefined;
  }
}
