import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "@jest/globals";
import { keepHeartbeat, SilenceMeter, WakingClock } from "../../../src/rendezvous/heartbeat.ts";

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

test("keepHeartbeat looks more often than it beats, so that silence is measured finely, and ends when told to", async () => {
  let numBeats = 0;
  const looks: number[] = [];
  const stop = keepHeartbeat(
    { intervalMs: 100, silenceLimitMs: 520 },
    () => numBeats++,
    (wakingMs) => looks.push(wakingMs),
  );
  while (numBeats < 3) await sleep(5);
  stop();
  const numLooks = looks.length;
  expect(numLooks).toBeGreaterThan(numBeats);
  expect(looks.reduce((sum, ms) => sum + ms)).toBeGreaterThan(200);
  await sleep(300);
  expect([numBeats, looks.length]).toEqual([3, numLooks]);
});

test("SilenceMeter adds waking time up and begins anew with each sign of life", () => {
  const silence = new SilenceMeter();
  silence.add(250.4);
  silence.add(250.4);
  expect(silence.silentMs).toBe(501);
  silence.reset();
  expect(silence.silentMs).toBe(0);
});
