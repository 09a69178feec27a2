/**
 * Which process a number means: a pid is given out again after its owner's death, pid and start time together are not.
 * Needed to end a frozen rank without hitting a stranger. Likewise which host a name means: two may bear the same.
 */
import { readFileSync, readlinkSync } from "node:fs";
import type { Process } from "./generated/rendezvous.ts";

/** This process, as peers know it. */
export function describeSelf(host: string): Process {
  return { host, machine: describeMachine(), pid: process.pid, startTime: readStartTime(process.pid) ?? 0n };
}

/** Whether two processes run on the same host: it has one name and one kernel, and pids and sockets mean the same to both. */
export function shareHost(a: Process, b: Process): boolean {
  return a.host === b.host && a.machine === b.machine;
}

/** The processes' host names, with "#2" and so on after the name of another host that bears the same. */
export function tellHostsApart(processes: readonly Process[]): string[] {
  return processes.map(({ host, machine }) => {
    const namesakes = [...new Set(processes.filter((other) => other.host === host).map((other) => other.machine))];
    const index = namesakes.indexOf(machine);
    return index === 0 ? host : `${host}#${index + 1}`;
  });
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

/** The same for all containers of a machine until it boots again, and for no other machine; "" where the system does not say. */
export function readBootId(): string {
  try {
    return readFileSync("/proc/sys/kernel/random/boot_id", "latin1").trim();
  } catch {
    return "";
  }
}

/** Differs between two boots of any two machines, and between containers of one; "" where the system does not say. */
function describeMachine(): string {
  try {
    return [readBootId(), ...["net", "pid"].map((namespace) => readlinkSync(`/proc/self/ns/${namespace}`))].join(" ");
  } catch {
    return "";
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
