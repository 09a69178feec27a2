/**
 * What a run came to: the exits of all ranks in, the one that explains the others and the launcher's exit code out.
 */
import { constants } from "node:os";
import type { RankExit } from "./job.ts";

/** An exit that follows a rank's violent death this closely may be its consequence, and be noticed first. */
const CONSEQUENCE_MS = 100;

/**
 * The failure that came first, or undefined when every rank ended well or because it was told to. Ranks watch each
 * other, so the death of one makes others exit within a moment; a death by signal has its cause outside and
 * is believed rather than an exit code of the same moment.
 * @param exits in the order in which the agents noticed them
 */
export function findRootCause(exits: readonly RankExit[]): RankExit | undefined {
  const failures = exits.filter((exit) => !exit.onRequest && (exit.signal !== null || exit.code !== 0));
  const [first] = failures;
  if (first === undefined || first.signal !== null) return first;
  return failures.find((exit) => exit.signal !== null && exit.atMs - first.atMs <= CONSEQUENCE_MS) ?? first;
}

/** A shell's (and mpirun's) number for the end of a process: its exit code, or 128 + the signal's number. */
export function exitCodeOf({ code, signal }: Pick<RankExit, "code" | "signal">): number {
  return signal === null ? (code ?? 1) : 128 + constants.signals[signal];
}

/** The failure in one sentence with mpirun's words: which rank, pid, host and what happened to it. */
export function describeExit({ rank, pid, host, code, signal, stoppedMs }: RankExit): string {
  const who = `process rank ${rank} with PID ${pid} on host ${host}`;
  if (stoppedMs !== undefined) {
    return `${who} was stopped (as SIGSTOP does) for ${stoppedMs} ms while the others waited for it to join, and was killed`;
  }
  return signal === null ? `${who} exited with exit code ${code}` : `${who} exited on ${describeSignal(signal)}`;
}

/** "signal 9 (Killed)" */
export function describeSignal(signal: NodeJS.Signals): string {
  return `signal ${constants.signals[signal]} (${SIGNAL_NAMES[signal] ?? signal})`;
}

/** The C library's names for the signals that end processes. */
const SIGNAL_NAMES: Partial<Record<NodeJS.Signals, string>> = {
  SIGHUP: "Hangup",
  SIGINT: "Interrupt",
  SIGQUIT: "Quit",
  SIGILL: "Illegal instruction",
  SIGTRAP: "Trace/breakpoint trap",
  SIGABRT: "Aborted",
  SIGBUS: "Bus error",
  SIGFPE: "Floating point exception",
  SIGKILL: "Killed",
  SIGUSR1: "User defined signal 1",
  SIGSEGV: "Segmentation fault",
  SIGUSR2: "User defined signal 2",
  SIGPIPE: "Broken pipe",
  SIGALRM: "Alarm clock",
  SIGTERM: "Terminated",
  SIGXCPU: "CPU time limit exceeded",
  SIGXFSZ: "File size limit exceeded",
  SIGSYS: "Bad system call",
};
