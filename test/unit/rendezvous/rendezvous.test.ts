/** The coordinator and its clients in one process, over real sockets: who is let in, and what everybody is told. */
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { logVerbosity, type ServiceError, setLogVerbosity, status } from "@grpc/grpc-js";
import { afterEach, describe, expect, test } from "@jest/globals";
import type { WorldIdentity } from "../../../src/environment.ts";
import { RendezvousError } from "../../../src/errors.ts";
import { type CoordinatorAddress, writeAddressFile } from "../../../src/rendezvous/address-file.ts";
import type { Tunnel } from "../../../src/rendezvous/bridge.ts";
import { RendezvousClient } from "../../../src/rendezvous/client.ts";
import { Coordinator } from "../../../src/rendezvous/coordinator.ts";
import type { RankFailure } from "../../../src/rendezvous/failure.ts";
import {
  RendezvousClient as RendezvousStub,
  type TunnelMessage,
} from "../../../src/rendezvous/generated/rendezvous.ts";
import type { MeetingPoint } from "../../../src/rendezvous/meeting-point.ts";
import { createSecret, proveSecret } from "../../../src/rendezvous/secret.ts";
import { PLAIN_CREDENTIALS } from "../../../src/rendezvous/tls.ts";
import { openCable } from "../../support/cable.ts";
import { useTemporaryDirectory } from "../../support/temporary-directory.ts";

setLogVerbosity(logVerbosity.NONE);

const TIMING = { intervalMs: 20, silenceLimitMs: 200 };
const directory = useTemporaryDirectory();
const cleanups: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** Processes of these tests are told apart by pid 100 + rank; none of them can be fenced. */
function processOf(rank: number, pid = 100 + rank) {
  return { host: "hosta", machine: "", pid, startTime: 0n };
}

function identityOf(rank: number, worldSize: number): WorldIdentity {
  return {
    rank,
    worldSize,
    localRank: rank,
    localWorldSize: worldSize,
    host: "hosta",
    engine: "openmpi",
    source: "OMPI_COMM_WORLD_RANK",
    worldSizeSource: "OMPI_COMM_WORLD_SIZE",
  };
}

function joinOf(rank: number, worldSize: number) {
  return {
    rank,
    worldSize,
    source: "OMPI_COMM_WORLD_SIZE",
    version: "1.0.0",
    process: processOf(rank),
    dataAddress: `data-${rank}`,
  };
}

async function openCoordinator(worldSize: number, { startTimeoutMs = 5000, secret = createSecret() } = {}) {
  const lines: string[] = [];
  const [coordinator, address] = await Coordinator.listen("127.0.0.1:0", {
    secret,
    credentials: PLAIN_CREDENTIALS.server,
    startTimeoutMs,
    timing: TIMING,
    root: joinOf(0, worldSize),
    log: (line) => lines.push(line),
  });
  cleanups.push(() => coordinator.close());
  return { coordinator, address, lines };
}

/** One rank, and what it has been told. */
interface Rank {
  readonly client: RendezvousClient;
  readonly failures: RankFailure[];
  readonly ranksLeft: number[];
  /** Tunnels that others have opened to it. */
  readonly offers: number[];
}

async function joinAs(
  rank: number,
  worldSize: number,
  target: MeetingPoint | CoordinatorAddress,
  { startTimeoutMs = 5000, join: joinChanges = {} } = {},
): Promise<Rank> {
  const failures: RankFailure[] = [];
  const ranksLeft: number[] = [];
  const offers: number[] = [];
  const client = await RendezvousClient.join({
    identity: identityOf(rank, worldSize),
    meetingPoint: "kind" in target ? target : { kind: "address", ...target },
    credentials: PLAIN_CREDENTIALS.client,
    join: { ...joinOf(rank, worldSize), ...joinChanges },
    startTimeoutMs,
    timing: TIMING,
    onFailure: (failure) => failures.push(failure),
    onLeft: (left) => ranksLeft.push(left),
    onTunnelOffer: (tunnel) => offers.push(tunnel),
    log: () => {},
  });
  cleanups.push(() => client.leave(0));
  return { client, failures, ranksLeft, offers };
}

/** A way to the coordinator that the test can break. */
async function openCableTo({ address, secret }: CoordinatorAddress) {
  const cable = await openCable(Number(address.split(":")[1]));
  cleanups.push(() => cable.close());
  return { ...cable, address: { address: cable.address, secret } };
}

/** Like the promise, with its rejection as a value; the test that waits for it later must not be ended by it. */
function settle<T>(promise: Promise<T>): Promise<T | Error> {
  return promise.catch((error: Error) => error);
}

async function until(condition: () => boolean): Promise<void> {
  const deadlineMs = performance.now() + 5000;
  while (!condition() && performance.now() < deadlineMs) await sleep(5);
  expect(condition()).toBe(true);
}

function refusal(message: string) {
  return expect.objectContaining({ name: RendezvousError.name, code: "ERR_SHARDRUN_RENDEZVOUS", message });
}

describe("joining", () => {
  test.each([1, 2, 4])("%i ranks learn the same world", async (worldSize) => {
    const { address } = await openCoordinator(worldSize);
    const order = Array.from({ length: worldSize }, (_, rank) => worldSize - 1 - rank);
    const ranks = await Promise.all(order.map((rank) => joinAs(rank, worldSize, address)));
    const peers = Array.from({ length: worldSize }, (_, rank) => ({
      rank,
      process: processOf(rank),
      dataAddress: `data-${rank}`,
    }));
    for (const { client } of ranks) expect(client.peers).toEqual(peers);
  });

  test("a rank may look for rank 0 before it listens", async () => {
    const path = join(directory, "late");
    const follower = joinAs(1, 2, { kind: "file", path, secret: undefined });
    await sleep(100);
    const { address } = await openCoordinator(2);
    writeAddressFile(path, address);
    await Promise.all([joinAs(0, 2, address), follower]);
  });

  const hasIPv6 = JSON.stringify(networkInterfaces()).includes('"::1"');
  (hasIPv6 ? test : test.skip)("over IPv6 (skipped on a host without it)", async () => {
    const [coordinator, address] = await Coordinator.listen("[::1]:0", {
      secret: createSecret(),
      credentials: PLAIN_CREDENTIALS.server,
      startTimeoutMs: 5000,
      timing: TIMING,
      root: joinOf(0, 2),
      log: () => {},
    });
    cleanups.push(() => coordinator.close());
    expect(address.address).toMatch(/^\[::1\]:\d+$/);
    await Promise.all([joinAs(0, 2, address), joinAs(1, 2, address)]);
  });

  test("a port that is taken is an error that says so", async () => {
    const { address } = await openCoordinator(1);
    const options = {
      secret: createSecret(),
      credentials: PLAIN_CREDENTIALS.server,
      startTimeoutMs: 1000,
      timing: TIMING,
      root: joinOf(0, 1),
      log: () => {},
    };
    await expect(Coordinator.listen(address.address, options)).rejects.toThrow(
      refusal(
        `Rank 0 (hosta) could not listen on ${address.address} for the other ranks: ` +
          `listen EADDRINUSE: address already in use ${address.address}. ` +
          "Another program may hold this port: start again, or name another one in SHARDRUN_COORDINATOR.",
      ),
    );
  });
});

describe("ranks that do not fit, told to both sides", () => {
  test("another version", async () => {
    const { address } = await openCoordinator(2);
    const both = [joinAs(0, 2, address), joinAs(1, 2, address, { join: { version: "1.1.0" } })];
    const message =
      "Different versions of shardrun: rank 1 (hosta, PID 101) runs 1.1.0, rank 0 (hosta, PID 100) runs 1.0.0. " +
      "Install the same version for all ranks.";
    expect(await Promise.all(both.map(settle))).toEqual([refusal(message), refusal(message)]);
  });

  test("another world size", async () => {
    const { address } = await openCoordinator(2);
    const both = [joinAs(0, 2, address), joinAs(1, 3, address)];
    const message =
      "Different worlds: rank 1 (hosta, PID 101) expects 3 ranks (OMPI_COMM_WORLD_SIZE), " +
      "rank 0 (hosta, PID 100) expects 2 (OMPI_COMM_WORLD_SIZE). Start all ranks with the same number.";
    expect(await Promise.all(both.map(settle))).toEqual([refusal(message), refusal(message)]);
  });

  test("a rank that the world does not have", async () => {
    const { address } = await openCoordinator(2);
    const both = [joinAs(0, 2, address), joinAs(1, 2, address, { join: { rank: 4_294_967_295 } })];
    const message =
      "Rank 4294967295 is no rank of a world of 2: rank 4294967295 (hosta, PID 101) claims it. Start it with a rank from 0 to 1.";
    expect(await Promise.all(both.map(settle))).toEqual([refusal(message), refusal(message)]);
  });

  test("a rank that is there already", async () => {
    const { address } = await openCoordinator(3);
    const first = settle(joinAs(1, 3, address));
    const root = settle(joinAs(0, 3, address));
    await sleep(100);
    const second = settle(joinAs(1, 3, address, { join: { process: processOf(1, 999) } }));
    const message =
      "Two processes claim to be rank 1: hosta, PID 101 joined first, then hosta, PID 999. " +
      "Give each its own rank; a child process that a rank starts must not inherit its SHARDRUN_* variables.";
    expect(await Promise.all([first, root, second])).toEqual([refusal(message), refusal(message), refusal(message)]);
  });

  test("a rank that is there already, once the world is complete, is turned away alone", async () => {
    const { address } = await openCoordinator(1);
    const root = await joinAs(0, 1, address);
    const message =
      "Two processes claim to be rank 0: hosta, PID 100 joined first, then hosta, PID 999. " +
      "Give each its own rank; a child process that a rank starts must not inherit its SHARDRUN_* variables.";
    expect(await settle(joinAs(0, 1, address, { join: { process: processOf(0, 999) } }))).toEqual(refusal(message));
    await sleep(100);
    expect(root.failures).toEqual([]);
  });

  test("missing ranks, told to all that came", async () => {
    const { address } = await openCoordinator(4, { startTimeoutMs: 300 });
    const both = await Promise.all([settle(joinAs(0, 4, address)), settle(joinAs(1, 4, address))]);
    const messages = both.map((error) => (error as Error).message.replace(/after \d+ ms/, "after 300 ms"));
    const describe = (rank: number) =>
      `Rendezvous timed out after 300 ms on rank ${rank} (hosta): 2 of 4 ranks joined; missing: rank 2, rank 3. ` +
      "The missing ranks may have ended, see their output, or need more time: SHARDRUN_START_TIMEOUT_MS. " +
      `This process took itself for rank ${rank} of 4 because of OMPI_COMM_WORLD_RANK and OMPI_COMM_WORLD_SIZE: ` +
      "to run it alone set SHARDRUN_WORLD_SIZE=1.";
    expect(messages).toEqual([describe(0), describe(1)]);
  });
});

describe("rank 0 that is not found", () => {
  const advice =
    "The missing ranks may have ended, see their output, or need more time: SHARDRUN_START_TIMEOUT_MS. " +
    "This process took itself for rank 1 of 2 because of OMPI_COMM_WORLD_RANK and OMPI_COMM_WORLD_SIZE: " +
    "to run it alone set SHARDRUN_WORLD_SIZE=1.";

  async function failToJoin(target: MeetingPoint): Promise<string> {
    const error = await settle(joinAs(1, 2, target, { startTimeoutMs: 300 }));
    expect(error).toBeInstanceOf(RendezvousError);
    return (error as Error).message.replace(/after \d+ ms/, "after 300 ms");
  }

  test("nobody listens at its address", async () => {
    const target = { kind: "address" as const, address: "127.0.0.1:1", secret: createSecret() };
    expect(await failToJoin(target)).toBe(
      "Rendezvous timed out after 300 ms on rank 1 (hosta): rank 0 was not found, at 127.0.0.1:1 " +
        `(connect ECONNREFUSED 127.0.0.1:1). ${advice}`,
    );
  });

  test.each([
    ["says nothing", "it does not answer", () => false],
    ["hangs up", "it hung up; SHARDRUN_TLS_CERT may differ or be missing", () => true],
    [
      "hangs up, and says nothing when the time ends",
      "it hung up; SHARDRUN_TLS_CERT may differ or be missing",
      (connection: number) => connection === 1,
    ],
  ])("at its address somebody %s", async (_, seen, hangsUp) => {
    let numConnections = 0;
    const server = createServer((socket) => {
      cleanups.push(() => socket.destroy());
      if (hangsUp(++numConnections)) socket.destroy();
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    cleanups.push(() => server.close());
    const address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    expect(await failToJoin({ kind: "address", address, secret: createSecret() })).toBe(
      `Rendezvous timed out after 300 ms on rank 1 (hosta): rank 0 was not found, at ${address} (${seen}). ${advice}`,
    );
  });

  test("attempts that were refused are over: none of them comes back once somebody listens", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    await once(server.close(), "close");
    const address = `127.0.0.1:${port}`;
    const follower = settle(joinAs(1, 2, { address, secret: createSecret() }, { startTimeoutMs: 2000 }));
    await sleep(300); // a dozen attempts
    let numConnections = 0;
    server.on("connection", (socket) => {
      numConnections += 1;
      cleanups.push(() => socket.destroy());
    });
    server.listen(port, "127.0.0.1");
    cleanups.push(() => server.close());
    await follower; // gRPC would have waited for a second, and then connected for all of them
    expect(numConnections).toBe(1);
  });

  test("nobody wrote its address", async () => {
    const path = join(directory, "never");
    expect(await failToJoin({ kind: "file", path, secret: undefined })).toBe(
      "Rendezvous timed out after 300 ms on rank 1 (hosta): rank 0 was not found, " +
        `through ${path} (it has not announced its address). ${advice}`,
    );
  });

  test("a file that others could have written is refused at once", async () => {
    const path = join(directory, "open");
    writeFileSync(path, "{}", { mode: 0o666 });
    await expect(joinAs(1, 2, { kind: "file", path, secret: undefined })).rejects.toThrow(RendezvousError);
  });

  test.each(["says nothing", "says garbage", "hangs up"])("a stale file names a program that %s", async (behaviour) => {
    const server = createServer((socket: Socket) => {
      cleanups.push(() => socket.destroy());
      socket.on("error", () => {});
      if (behaviour === "says garbage") socket.write("HTTP/1.0 400 Bad Request\r\n\r\n");
      if (behaviour === "hangs up") socket.destroy();
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    cleanups.push(() => server.close());
    const path = join(directory, "stale");
    const { port } = server.address() as AddressInfo;
    writeAddressFile(path, { address: `127.0.0.1:${port}`, secret: createSecret() });
    const follower = joinAs(1, 2, { kind: "file", path, secret: undefined });
    await sleep(150);
    const { address } = await openCoordinator(2);
    writeAddressFile(path, address);
    await Promise.all([joinAs(0, 2, address), follower]);
  });

  test("a stale file names another run's coordinator", async () => {
    const other = await openCoordinator(2);
    const path = join(directory, "other");
    writeAddressFile(path, { address: other.address.address, secret: createSecret() });
    const follower = joinAs(1, 2, { kind: "file", path, secret: undefined });
    await sleep(150);
    const { address } = await openCoordinator(2);
    writeAddressFile(path, address);
    await Promise.all([joinAs(0, 2, address), follower]);
  });
});

describe("strangers", () => {
  test("a wrong secret is turned away, logged once, and harms nothing", async () => {
    const { address, lines } = await openCoordinator(2);
    const root = joinAs(0, 2, address);
    for (let attempt = 0; attempt < 3; attempt++) {
      const stranger = { ...address, secret: createSecret() };
      expect(await settle(joinAs(1, 2, stranger))).toEqual(
        refusal(
          `Rank 1 (hosta) was turned away at ${address.address}: the coordinator there has another secret. ` +
            "It belongs to another run, or SHARDRUN_SECRET differs between the ranks.",
        ),
      );
    }
    await Promise.all([root, joinAs(1, 2, address)]);
    expect(lines).toEqual([
      expect.stringMatching(
        /^rank 0 turned away 127\.0\.0\.1:\d+, which did not prove this run's secret \(said once\)\.$/,
      ),
    ]);
  });

  test("garbage, half a frame and silence harm nothing", async () => {
    const { address } = await openCoordinator(2);
    const port = Number(address.address.split(":")[1]);
    const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    const strangers = ["", "GET / HTTP/1.1\r\n\r\n", preface, `${preface}\0\0`, "\xff".repeat(70_000)].map((text) => {
      const socket = connect(port, "127.0.0.1");
      socket.on("error", () => {});
      socket.write(text, "latin1");
      cleanups.push(() => socket.destroy());
      return socket;
    });
    const ranks = await Promise.all([joinAs(0, 2, address), joinAs(1, 2, address)]);
    for (const socket of strangers) socket.destroy();
    await sleep(TIMING.silenceLimitMs);
    expect(ranks.map(({ failures }) => failures)).toEqual([[], []]);
  });
});

describe("tunnels", () => {
  /** What has come through, and whether the other end has ended. */
  function listen(tunnel: Tunnel) {
    const seen = { bytes: [] as number[], hasEnded: false };
    tunnel.on("error", () => {});
    tunnel.on("data", ({ body }: TunnelMessage) => seen.bytes.push(...(body?.value as Uint8Array)));
    tunnel.on("end", () => (seen.hasEnded = true));
    return seen;
  }

  async function joinTwo() {
    const { address } = await openCoordinator(2);
    return Promise.all([joinAs(0, 2, address), joinAs(1, 2, address)]);
  }

  test("bytes pass both ways, in order, and the end after them", async () => {
    const [a, b] = await joinTwo();
    const opened = a.client.openTunnel();
    opened.write({ body: { $case: "toRank", value: 1 } });
    opened.write({ body: { $case: "data", value: Uint8Array.of(1, 2) } });
    await until(() => b.offers.length === 1);
    const accepted = b.client.openTunnel();
    accepted.write({ body: { $case: "accept", value: b.offers[0]! } });
    accepted.write({ body: { $case: "data", value: Uint8Array.of(3) } });
    accepted.end({ body: { $case: "data", value: Uint8Array.of(4) } });
    const atA = listen(opened);
    const atB = listen(accepted);
    await until(() => atA.hasEnded && atB.bytes.length === 2);
    expect([atA.bytes, atB.bytes]).toEqual([
      [3, 4],
      [1, 2],
    ]);
  });

  test.each<[string, NonNullable<TunnelMessage["body"]>]>([
    ["to a rank that is not there", { $case: "toRank", value: 2 }],
    ["that nobody has opened", { $case: "accept", value: 7 }],
    ["that does not say which", { $case: "data", value: Uint8Array.of(1) }],
  ])("a tunnel %s ends at once", async (_, body) => {
    const [a] = await joinTwo();
    const tunnel = a.client.openTunnel();
    const seen = listen(tunnel);
    tunnel.write({ body });
    await until(() => seen.hasEnded);
  });

  test("a tunnel whose opener has gone cannot be accepted", async () => {
    const [a, b] = await joinTwo();
    const opened = a.client.openTunnel();
    opened.on("error", () => {});
    opened.write({ body: { $case: "toRank", value: 1 } });
    await until(() => b.offers.length === 1);
    opened.cancel();
    await sleep(50);
    const accepted = b.client.openTunnel();
    const seen = listen(accepted);
    accepted.write({ body: { $case: "accept", value: b.offers[0]! } });
    await until(() => seen.hasEnded);
  });

  test("a stranger's tunnel is turned away", async () => {
    const { address } = await openCoordinator(1);
    const stub = new RendezvousStub(address.address, PLAIN_CREDENTIALS.client);
    cleanups.push(() => stub.close());
    const [error] = (await once(stub.tunnel(proveSecret(createSecret())), "error")) as [ServiceError];
    expect(error).toMatchObject({ code: status.UNAUTHENTICATED, details: "the secret of this run was not proved" });
  });
});

describe("the end of a rank", () => {
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
});
