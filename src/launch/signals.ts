/**
 * What the launcher does with signals: those that ask for an end become an orderly end of all ranks (a second one ends
 * them at once), the others are handed on. Ctrl-Z stops the ranks first and then the launcher.
 */

export interface SignalActions {
  /** The first SIGINT, SIGTERM or SIGHUP. */
  readonly stop: (signal: NodeJS.Signals) => void;
  /** The second one. */
  readonly kill: () => void;
  /** Hand a signal on to every rank; resolves when it is under way. */
  readonly forward: (signal: NodeJS.Signals) => Promise<void>;
  /** The launcher has been continued after a stop. */
  readonly resumed: () => void;
}

/**
 * Takes over this process's signals; the returned function gives them back.
 * @param forwardsInterrupts SIGINT is handed on as well
 */
export function forwardSignals(actions: SignalActions, forwardsInterrupts = false): () => void {
  let numStops = 0;
  const stop = (signal: NodeJS.Signals) => {
    numStops++;
    if (numStops === 1) actions.stop(signal);
    else actions.kill();
  };
  const forward = (signal: NodeJS.Signals) => void actions.forward(signal);
  const handlers: Partial<Record<NodeJS.Signals, (signal: NodeJS.Signals) => void>> = {
    SIGINT: forwardsInterrupts ? forward : stop,
    SIGTERM: stop,
    SIGHUP: stop,
    SIGUSR1: forward,
    SIGUSR2: forward,
    // A rank leads a session of its own, where the kernel ignores SIGTSTP; SIGSTOP does what Ctrl-Z means.
    SIGTSTP: () => void actions.forward("SIGSTOP").then(() => process.kill(process.pid, "SIGSTOP")),
    SIGCONT: (signal) => {
      forward(signal);
      actions.resumed();
    },
  };
  const entries = Object.entries(handlers) as [NodeJS.Signals, (signal: NodeJS.Signals) => void][];
  for (const [signal, handler] of entries) process.on(signal, handler);
  return () => {
    for (const [signal, handler] of entries) process.off(signal, handler);
  };
}
