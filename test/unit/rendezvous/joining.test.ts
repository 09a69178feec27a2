/** The coordinator and its clients in one process, over real sockets: who is let in, and what is said to whoever is not. */
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "@jest/globals";
import { RendezvousError } from "../../../src/errors.ts";
import { writeAddressFile } from "../../../src/rendezvous/address-file.ts";
import { Coordinator } from "../../../src/rendezvous/coordinator.ts";
import type { MeetingPoint } from "../../../src/rendezvous/meeting-point.ts";
import { createSecret } from "../../../src/rendezvous/secret.ts";
import { PLAIN_CREDENTIALS } from "../../../src/rendezvous/tls.ts";
import {
  cleanups,
  closeAfterEachTest,
  joinAs,
  joinOf,
  openCoordinator,
  processOf,
  refusal,
  settle,
  TIMING,
} from "../../support/rendezvous-world.ts";
import { useTemporaryDirectory } from "../../support/temporary-directory.ts";

const directory = useTemporaryDirectory();
closeAfterEachTest();

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
