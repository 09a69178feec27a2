/**
 * By how much the clocks of other hosts are ahead of rank 0's, so that what ranks note can be laid on one axis.
 * Rank 0 asks each such rank for its time some times over; the answer of the fastest round trip is taken as given half way.
 * Off by at most half of that round trip (Cristian, "Probabilistic clock synchronization", 1989). Cost: 16 messages of 8 bytes per rank.
 */
import { gatherValues } from "../collective/messages.ts";
import type { Communicator } from "../collective/native.ts";
import { ROOT_RANK } from "../environment.ts";

const NUM_ROUNDS = 8;

/** This host's wall clock, in microseconds. */
export function readClockUs(): number {
  return (performance.timeOrigin + performance.now()) * 1000;
}

/** Microseconds by which this rank's clock is ahead of rank 0's; 0 on rank 0's own host. Every rank of the group calls it. */
export async function measureClockOffsetUs(
  communicator: Communicator,
  host: string,
  readClock = readClockUs,
): Promise<number> {
  const { rank } = communicator;
  const hosts = await gatherValues(communicator, host, { label: "host names" });
  const farRanks = hosts.flatMap((name, peer) => (name === hosts[ROOT_RANK] ? [] : [peer]));
  if (rank === ROOT_RANK) {
    for (const peer of farRanks) await askForTime(communicator, peer, readClock);
    return 0;
  }
  return farRanks.includes(rank) ? tellTime(communicator, readClock) : 0;
}

/** Rank 0's part: ends by telling the peer its offset. */
async function askForTime(communicator: Communicator, peer: number, readClock: () => number): Promise<void> {
  const time = new Float64Array(1);
  const bytes = new Uint8Array(time.buffer);
  let best = { roundTripUs: Infinity, offsetUs: 0 };
  for (let round = 0; round < NUM_ROUNDS; round++) {
    const askedUs = readClock();
    await communicator.send(bytes, peer, { label: "time" });
    await communicator.recv(bytes, peer, { label: "time" });
    const roundTripUs = readClock() - askedUs;
    if (roundTripUs < best.roundTripUs) best = { roundTripUs, offsetUs: time[0]! - (askedUs + roundTripUs / 2) };
  }
  time[0] = best.offsetUs;
  await communicator.send(bytes, peer, { label: "clock offset" });
}

async function tellTime(communicator: Communicator, readClock: () => number): Promise<number> {
  const time = new Float64Array(1);
  const bytes = new Uint8Array(time.buffer);
  for (let round = 0; round < NUM_ROUNDS; round++) {
    await communicator.recv(bytes, ROOT_RANK, { label: "time" });
    time[0] = readClock();
    await communicator.send(bytes, ROOT_RANK, { label: "time" });
  }
  await communicator.recv(bytes, ROOT_RANK, { label: "clock offset" });
  return time[0]!;
}
