/** How ranks end, by leaving or by failing, and what all others are told of it. */
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "@jest/globals";
import { RendezvousError } from "../../../src/errors.ts";
import {
  closeAfterEachTest,
  joinAs,
  openCableTo,
  openCoordinator,
  settle,
  TIMING,
  until,
} from "../../support/rendezvous-world.ts";

closeAfterEachTest();

async function joinThree() {
  const { coordinator, address } = await openCoordinator(3);
  const ranks = await Promise.all([0, 1, 2].map((rank) => joinAs(rank, 3, address)));
  return { coordinator, ranks };
}

test("a rank that leaves is no failure", async () => {
  const { ranks } = await joinThree();
  await ranks[2]!.client.leave(0);
  await until(() => ranks[0]!.ranksLeft.length === 1 && ranks[1]!.ranksLeft.length === 1);
  await sleep(2 * TIMING.silenceLimitMs);
  expect(ranks.map(({ ranksLeft, failures }) => [ranksLeft, failures])).toEqual([
    [[2], []],
    [[2], []],
    [[], []],
  ]);
});

test("rank 0's leaving reaches everybody before its coordinator closes", async () => {
  const { coordinator, ranks } = await joinThree();
  await ranks[0]!.client.leave(0);
  await coordinator.close();
  await until(() => ranks[1]!.ranksLeft.length === 1 && ranks[2]!.ranksLeft.length === 1);
  await sleep(2 * TIMING.silenceLimitMs);
  expect(ranks.flatMap(({ failures }) => failures)).toEqual([]);
});

test("an exit code other than 0 is a failure, and only the first counts", async () => {
  const { ranks } = await joinThree();
  await ranks[2]!.client.leave(7);
  await ranks[1]!.client.leave(3);
  await until(() => ranks[0]!.failures.length > 0 && ranks[1]!.failures.length > 0);
  await sleep(50);
  const failure = { rank: 2, host: "hosta", pid: 102, reason: "it ended with exit code 7", elapsedMs: 0 };
  expect(ranks.map(({ failures }) => failures)).toEqual([[failure], [failure], []]);
});

test("what one rank noticed alone is told to all, with the process that was meant", async () => {
  const { ranks } = await joinThree();
  ranks[1]!.client.reportFailure(2, "its data connection to rank 1 broke");
  await until(() => ranks.every(({ failures }) => failures.length > 0));
  for (const { failures } of ranks) {
    expect(failures).toEqual([
      expect.objectContaining({ rank: 2, host: "hosta", pid: 102, reason: "its data connection to rank 1 broke" }),
    ]);
  }
});

test("a connection that closes is a failure", async () => {
  const { coordinator, ranks } = await joinThree();
  void coordinator.close(); // waits for the ranks' farewell, which does not come, then breaks off
  await until(() => ranks.every(({ failures }) => failures.length > 0));
  for (const { failures } of ranks) {
    expect(failures).toEqual([
      expect.objectContaining({ rank: 0, host: "hosta", pid: 100, reason: "its connection closed" }),
    ]);
  }
});

test("a rank that stops answering is declared lost, and hears of it itself", async () => {
  const { address } = await openCoordinator(2);
  const cable = await openCableTo(address);
  const ranks = await Promise.all([joinAs(0, 2, address), joinAs(1, 2, cable.address)]);
  cable.block();
  await until(() => ranks.every(({ failures }) => failures.length > 0));
  const [seenByRoot, seenByFollower] = ranks.map(({ failures }) => failures);
  const reason = "it stopped answering";
  expect(seenByRoot).toEqual([expect.objectContaining({ rank: 1, host: "hosta", pid: 101, reason })]);
  expect(seenByFollower).toEqual([expect.objectContaining({ rank: 0, host: "hosta", pid: 100, reason })]);
  expect(seenByRoot![0]!.elapsedMs).toBeGreaterThanOrEqual(TIMING.silenceLimitMs);
  expect(seenByRoot![0]!.elapsedMs).toBeLessThan(2 * TIMING.silenceLimitMs);
});

test("silence while this process itself was suspended is no failure", async () => {
  const { ranks } = await joinThree();
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5 * TIMING.silenceLimitMs);
  await sleep(2 * TIMING.silenceLimitMs);
  expect(ranks.flatMap(({ failures }) => failures)).toEqual([]);
});

test("a rank lost while others are awaited ends the gathering, for those who come later too", async () => {
  const { address } = await openCoordinator(3);
  const cable = await openCableTo(address);
  const root = settle(joinAs(0, 3, address));
  void settle(joinAs(1, 3, cable.address));
  await sleep(100);
  cable.cut();
  const message = expect.stringMatching(
    /^Rank 1 \(hosta, PID 101\) was lost: its connection closed before all ranks had joined, \d+ ms after its last sign of life\.$/,
  );
  expect(await root).toMatchObject({ name: RendezvousError.name, rank: 1, host: "hosta", message });
  expect(await settle(joinAs(2, 3, address))).toMatchObject({ name: RendezvousError.name, rank: 1, message });
});
