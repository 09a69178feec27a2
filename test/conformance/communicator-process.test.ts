/** Communicators of real processes: the death of a peer, and the end of a process or thread while a call waits. */
import { describe, expect, test } from "@jest/globals";
import { spawn, type ChildProcessWithoutNullStreams } from "node:child_process";
import { randomUUID } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const script = fileURLToPath(new URL("../support/communicator-rank.mjs", import.meta.url));

interface Rank {
  readonly process: ChildProcessWithoutNullStreams;
  readonly nextLine: () => Promise<string>;
  /** Exit code, or signal. */
  readonly ended: Promise<number | string | null>;
}

function start(...scriptArguments: string[]): Rank {
  const child = spawn(process.execPath, [script, ...scriptArguments]);
  child.stderr.pipe(process.stderr);
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    process: child,
    nextLine: async () => String((await lines.next()).value),
    ended: new Promise((resolve) => child.once("close", (code, signal) => resolve(signal ?? code))),
  };
}

/** Ranks that have met in a barrier, all but the last waiting in an allReduce. */
async function startWaitingRanks(worldSize: number, transport: string): Promise<Rank[]> {
  const runId = randomUUID();
  const ranks = Array.from({ length: worldSize }, (_, rank) =>
    start("rank", runId, String(rank), String(worldSize), transport),
  );
  const addresses = await Promise.all(ranks.map((rank) => rank.nextLine()));
  for (const rank of ranks) rank.process.stdin.write(`${JSON.stringify(addresses)}\n`);
  expect(await Promise.all(ranks.map((rank) => rank.nextLine()))).toEqual(new Array(worldSize).fill("ready"));
  return ranks;
}

describe.each(["shm", "tcp"])("%s", (transport) => {
  test("kill -9 of a rank fails the calls that wait for it at once, and leaves no shared memory", async () => {
    const before = readdirSync("/dev/shm");
    const ranks = await startWaitingRanks(3, transport);
    await new Promise((resolve) => setTimeout(resolve, 300)); // long enough that they sleep in the kernel
    const killedMs = Date.now();
    ranks[2]!.process.kill("SIGKILL");
    const failures = await Promise.all(
      ranks.slice(0, 2).map(async (rank) => JSON.parse(await rank.nextLine()) as Record<string, unknown>),
    );
    // Whoever sees it first tells the other, who then may repeat it.
    const own = (rank: number) =>
      `allReduce failed after N ms on rank ${rank} (hosta): the connection to rank 2 (hosta, ${transport}) ended while ` +
      `waiting for "layers.0.o_proj" [4] float32, 16 bytes. Look at the output of rank 2, which may have ended or crashed.`;
    for (const [rank, failure] of failures.entries()) {
      const told = `allReduce failed on rank ${rank} (hosta): rank ${1 - rank} (hosta, ${transport}) gave up with: ${own(1 - rank)}`;
      expect([own(rank), told]).toContain(String(failure["message"]).replaceAll(/after \d+ ms/g, "after N ms"));
      expect(Number(failure["timeMs"]) - killedMs).toBeLessThan(1000);
    }
    expect(await Promise.all(ranks.map((rank) => rank.ended))).toEqual([1, 1, "SIGKILL"]);
    expect(readdirSync("/dev/shm")).toEqual(before);
  });

  test("a process may exit while a call waits", async () => {
    expect(await start("exit", transport).ended).toBe(7);
  });

  test("a worker_thread may end while a call waits, and another may use the addon after it", async () => {
    const main = start("worker", transport);
    expect(await main.nextLine()).toBe("both ended");
    expect(await main.ended).toBe(0);
  });

  test("waiting costs next to no processor time", async () => {
    const ranks = await startWaitingRanks(2, transport);
    const pid = ranks[0]!.process.pid;
    /** User and system time, in ticks of 10 ms: fields 14 and 15, counted after the command's name. */
    const ticks = () => {
      const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]!.split(" ");
      return Number(fields[11]) + Number(fields[12]);
    };
    await new Promise((resolve) => setTimeout(resolve, 300));
    const before = ticks();
    await new Promise((resolve) => setTimeout(resolve, 1000));
    expect(ticks() - before).toBeLessThan(10);
    for (const rank of ranks) rank.process.kill("SIGKILL");
    await Promise.all(ranks.map((rank) => rank.ended));
  });
});
