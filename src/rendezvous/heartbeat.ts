/**
 * When a peer that says nothing is taken for dead. Silence is counted in the listener's own waking time, so that a job that was
 * suspended as a whole (Ctrl-Z, a closed laptop) and goes on does not take everybody for dead.
 */

export interface HeartbeatTiming {
  /** Between two signs of life, both ways. */
  readonly intervalMs: number;
  /** Silence after which a peer is declared dead. */
  readonly silenceLimitMs: number;
}

/**
 * A stopped rank must be noticed within 2 s, the ranks' own ends included. Silence is counted from look to look, 50 ms apart, the one
 * with the last sign of life included, so it is noticed 1250 to 1300 ms after that: five heartbeats in a row are missing, which even
 * a heavily loaded machine does not manage.
 */
export const DEFAULT_TIMING: HeartbeatTiming = { intervalMs: 250, silenceLimitMs: 1300 };

/** Looks for silence in each interval: they cost a listener next to nothing, where more heartbeats would cost all ranks. */
const LOOKS_PER_INTERVAL = 5;

/**
 * Sends heartbeats, and looks out for those of others, until the returned function is called.
 * @param look called with the milliseconds since the last look that this process was awake
 */
export function keepHeartbeat(timing: HeartbeatTiming, beat: () => void, look: (wakingMs: number) => void): () => void {
  const clock = new WakingClock(timing);
  const timers = [
    setInterval(beat, timing.intervalMs),
    setInterval(() => look(clock.tick()), timing.intervalMs / LOOKS_PER_INTERVAL),
  ];
  return () => timers.forEach((timer) => clearInterval(timer));
}

/** Measures waking time from tick to tick. */
export class WakingClock {
  readonly #longestTickMs: number;
  #lastTickMs = performance.now();

  constructor(timing: HeartbeatTiming) {
    this.#longestTickMs = 2 * timing.intervalMs;
  }

  /** Milliseconds since the last tick that this process was awake: a tick that comes much too late was slept through. */
  tick(): number {
    const nowMs = performance.now();
    const passedMs = nowMs - this.#lastTickMs;
    this.#lastTickMs = nowMs;
    return Math.min(passedMs, this.#longestTickMs);
  }
}

/** How long one peer has said nothing. */
export class SilenceMeter {
  #silentMs = 0;

  get silentMs(): number {
    return Math.round(this.#silentMs);
  }

  /** A sign of life came. */
  reset(): void {
    this.#silentMs = 0;
  }

  add(wakingMs: number): void {
    this.#silentMs += wakingMs;
  }
}
