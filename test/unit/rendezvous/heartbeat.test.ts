import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "@jest/globals";
import { SilenceMeter, WakingClock } from "../../../src/rendezvous/heartbeat.ts";

/** Holds this thread as a suspension would. */
function blockFor(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

describe("WakingClock", () => {
  test("measures a tick that comes in time as it is", async () => {
    const clock = new WakingClock({ intervalMs: 1000, silenceLimitMs: 5000 });
    await sleep(50);
    const ms = clock.tick();
    expect(ms).toBeGreaterThanOrEqual(49);
    expect(ms).toBeLessThan(1000);
  });

  test("counts a tick that was slept through as two intervals at most", () => {
    const clock = new WakingClock({ intervalMs: 10, silenceLimitMs: 60 });
    blockFor(200);
    expect(clock.tick()).toBe(20);
  });
});

test("SilenceMeter adds waking time up and begins anew with each sign of life", () => {
  const silence = new SilenceMeter();
  silence.add(250.4);
  silence.add(250.4);
  expect(silence.silentMs).toBe(501);
  silence.reset();
  expect(silence.silentMs).toBe(0);
});
