/** The clocks of other hosts, told apart from rank 0's; here all are this host's, shifted by seconds. */
import { expect, test } from "@jest/globals";
import { measureClockOffsetUs, readClockUs } from "../../../src/execute/clock.ts";
import { connectWorld } from "../../support/communicator-world.ts";

test("a rank of another host learns by how much its clock is ahead, a rank of rank 0's host that it is the same", async () => {
  const hosts = ["hosta", "hosta", "hostb", "hostc"];
  const aheadUs = [0, 9e6, 5e6, -3e6];
  const world = await connectWorld(4, "tcp", 20_000, hosts);
  try {
    const offsets = await world.run((communicator, rank) =>
      measureClockOffsetUs(communicator, hosts[rank]!, () => readClockUs() + aheadUs[rank]!),
    );
    expect(offsets.slice(0, 2)).toEqual([0, 0]);
    for (const rank of [2, 3]) expect(Math.abs(offsets[rank]! - aheadUs[rank]!)).toBeLessThan(100_000);
  } finally {
    await world.close();
  }
});
