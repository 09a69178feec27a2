/**
 * Notices ranks that are stopped (SIGSTOP) before they have joined the others, who would wait for them: once all have joined, their
 * heartbeats tell. In: pids, looked at again and again. Out: those that have been stopped for long.
 */
import { readFileSync } from "node:fs";

const POLL_MS = 200;
const NUM_POLLS = 8;
/** A rank that is seen stopped for so long is taken for lost, like one that misses its heartbeats. */
export const STOPPED_LIMIT_MS = POLL_MS * NUM_POLLS;

/**
 * Looks again and again until the returned function is called. Looks are counted, not time: a process that was stopped together with
 * this one is continued together with it.
 * @param listPids who is to be looked at
 * @param found called with the pid of each that was stopped at every look for STOPPED_LIMIT_MS
 */
export function watchStopped(listPids: () => readonly number[], found: (pid: number) => void): () => void {
  let numSeen = new Map<number, number>();
  const timer = setInterval(() => {
    const stopped = listPids().filter(isStopped);
    numSeen = new Map(stopped.map((pid) => [pid, (numSeen.get(pid) ?? 0) + 1]));
    for (const [pid, times] of numSeen) if (times === NUM_POLLS) found(pid);
  }, POLL_MS);
  timer.unref();
  return () => clearInterval(timer);
}

/** By the kernel's letter for what a process does; a debugger's stop is another ("t"). */
function isStopped(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/stat`, "latin1").split(") ").at(-1)!.startsWith("T");
  } catch {
    return false; // has ended, or there is no /proc
  }
}
