/**
 * What every transport must do, for every world size: one suite x {local, shm, tcp, shm+tcp} x worldSize x counts x data types.
 * The ranks are communicators of this process, each on its own native thread; for shm+tcp they take themselves for ranks of several hosts.
 */
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import type { ReduceOp } from "../../src/collective/native.ts";
import { connectWorld, type CommunicatorWorld } from "../support/communicator-world.ts";
import { encode, WIRE_DATA_TYPES } from "../support/wire-data.ts";

/** Transport, worldSize, and how many ranks each host has. */
const CELLS: [string, number, number[]][] = [
  ["local", 1, [1]],
  ...["shm", "tcp", "grpc"].flatMap((transport) =>
    [1, 2, 3, 4, 5, 8].map((worldSize): [string, number, number[]] => [transport, worldSize, [worldSize]]),
  ),
  ["tcp", 2, [1, 1]],
  ["shm+tcp", 3, [2, 1]],
  ["shm+tcp", 4, [2, 2]],
  ["shm+tcp", 4, [3, 1]],
  ["shm+tcp", 5, [2, 3]],
  ["shm+tcp", 7, [2, 2, 3]],
  ["shm+tcp", 8, [4, 4]],
];

/** What rank gives at place i: 0 to 15. */
const sample = (rank: number, i: number) => (rank * 5 + i * 3) % 16;
const samples = (rank: number, count: number) => Array.from({ length: count }, (_, i) => sample(rank, i));

function reduced(worldSize: number, count: number, op: ReduceOp): number[] {
  return Array.from({ length: count }, (_, i) => {
    const given = Array.from({ length: worldSize }, (_, rank) => sample(rank, i));
    return op === "sum" ? given.reduce((a, b) => a + b, 0) : Math.max(...given);
  });
}

const sumOf = (values: readonly number[]) => values.reduce((a, b) => a + b, 0);
const sameBytes = (a: Uint8Array, b: Uint8Array) => Buffer.compare(a, b) === 0;

describe.each(CELLS)("%s, worldSize %i on hosts of %j", (transport, worldSize, ranksPerHost) => {
  const hosts = ranksPerHost.flatMap((numRanks, i) => new Array<string>(numRanks).fill(`host${i}`));
  let world: CommunicatorWorld;
  const counts = [...new Set([0, 1, worldSize - 1, worldSize, 1000, 10_007])];

  beforeAll(async () => {
    const requested = ranksPerHost.length > 1 ? "auto" : (transport as "local" | "shm" | "tcp" | "grpc");
    world = await connectWorld(worldSize, requested, 20_000, hosts);
  });
  afterAll(() => world.close());

  test("knows its place", () => {
    expect(world.communicators.map(({ rank }) => rank)).toEqual(Array.from({ length: worldSize }, (_, rank) => rank));
    for (const communicator of world.communicators) {
      expect(communicator.worldSize).toBe(worldSize);
      expect(communicator.transport).toBe(worldSize === 1 ? "local" : transport);
    }
  });

  test.each(WIRE_DATA_TYPES)("allReduce of %s", async (dataType) => {
    for (const count of counts) {
      for (const op of ["sum", "max"] as const) {
        const expected = encode(dataType, reduced(worldSize, count, op));
        const results = await world.run(async (communicator, rank) => {
          const data = encode(dataType, samples(rank, count));
          await communicator.allReduce(data, dataType, op);
          return data;
        });
        expect(results.every((result) => sameBytes(result, expected))).toBe(true);
      }
    }
  });

  test("allReduce sums float32 in rank order, many of several hosts host by host, with the same bits on every rank", async () => {
    const addUp = (inputs: readonly Float32Array[]) =>
      inputs.reduce((sums, values) => sums.map((sum, i) => sum + values[i]!));
    // Around each limit of native/collectives/algorithms.h, and several blocks of all_reduce_by_hosts.h.
    for (const count of [16, 4096, 4097, 65_536, 65_537, 300_007]) {
      const given = hosts.map((_, rank) =>
        Float32Array.from({ length: count }, (_, i) => (i % 7 === 0 ? 1e8 : 1) / (1 + rank + (i % 13))),
      );
      const inHost = (name: string) => addUp(given.filter((_, rank) => hosts[rank] === name));
      const byHosts = transport === "shm+tcp" && count > 4096;
      const expected = byHosts ? addUp([...new Set(hosts)].map(inHost)) : addUp(given);
      const results = await world.run(async (communicator, rank) => {
        const data = new Uint8Array(given[rank]!.slice().buffer);
        await communicator.allReduce(data, "float32", "sum");
        return data;
      });
      expect(results.every((result) => sameBytes(result, new Uint8Array(expected.buffer)))).toBe(true);
    }
  });

  test("allGather, equal and uneven, also of nothing", async () => {
    const layouts = [
      Array.from({ length: worldSize }, () => 64),
      Array.from({ length: worldSize }, (_, rank) => (rank * 7919) % 1000),
      Array.from({ length: worldSize }, () => 0),
      Array.from({ length: worldSize }, (_, rank) => (rank === 0 ? 300_000 : 1)),
    ];
    for (const bytesPerRank of layouts) {
      const parts = bytesPerRank.map((bytes, rank) => new Uint8Array(bytes).fill(rank + 1));
      const expected = Buffer.concat(parts);
      const results = await world.run(async (communicator, rank) => {
        const output = new Uint8Array(sumOf(bytesPerRank));
        await communicator.allGather(parts[rank]!, output, bytesPerRank);
        return output;
      });
      expect(results.every((result) => sameBytes(result, expected))).toBe(true);
    }
  });

  test.each(WIRE_DATA_TYPES)("reduceScatter of %s, equal and uneven", async (dataType) => {
    const layouts = [
      Array.from({ length: worldSize }, () => 33),
      Array.from({ length: worldSize }, (_, rank) => (rank * 37) % 50),
      Array.from({ length: worldSize }, (_, rank) => (rank === worldSize - 1 ? 40_000 : 0)),
    ];
    for (const rankCounts of layouts) {
      const total = sumOf(rankCounts);
      const sums = reduced(worldSize, total, "sum");
      const results = await world.run(async (communicator, rank) => {
        const output = encode(dataType, new Array<number>(rankCounts[rank]!).fill(0));
        await communicator.reduceScatter(encode(dataType, samples(rank, total)), output, rankCounts, dataType, "sum");
        return output;
      });
      for (const [rank, result] of results.entries()) {
        const first = sumOf(rankCounts.slice(0, rank));
        expect(sameBytes(result, encode(dataType, sums.slice(first, first + rankCounts[rank]!)))).toBe(true);
      }
    }
  });

  test("broadcast, and a message whose size only the root knows, from every root", async () => {
    for (let root = 0; root < worldSize; root++) {
      for (const bytes of [0, 1, 32_768, 32_769, 300_000]) {
        const sent = new Uint8Array(bytes).fill(root + 1);
        const results = await world.run(async (communicator, rank) => {
          const data = rank === root ? sent.slice() : new Uint8Array(bytes);
          await communicator.broadcast(data, root);
          return [data, await communicator.broadcastMessage(rank === root ? sent : undefined, root)];
        });
        expect(results.flat().every((result) => sameBytes(result, sent))).toBe(true);
      }
    }
  });

  test("a barrier lets nobody through before all have come", async () => {
    let numArrived = 0;
    const seen = await world.run(async (communicator, rank) => {
      if (rank === worldSize - 1) await new Promise((resolve) => setTimeout(resolve, 20));
      numArrived++;
      await communicator.barrier();
      return numArrived;
    });
    expect(seen).toEqual(new Array(worldSize).fill(worldSize));
  });

  test("send and recv pass a message around, in order", async () => {
    if (worldSize === 1) return;
    const results = await world.run(async (communicator, rank) => {
      const next = (rank + 1) % worldSize;
      const previous = (rank + worldSize - 1) % worldSize;
      const received = [new Uint8Array(3), new Uint8Array(100_000)];
      const send = async () => {
        await communicator.send(new Uint8Array(3).fill(rank), next);
        await communicator.send(new Uint8Array(100_000).fill(rank + 1), next);
      };
      const receive = async () => {
        for (const data of received) await communicator.recv(data, previous);
      };
      if (rank === 0) await send();
      await receive();
      if (rank !== 0) await send();
      return received.map((data, i) => data.every((byte) => byte === previous + i));
    });
    expect(results.flat()).toEqual(new Array(2 * worldSize).fill(true));
  });

  test("counts its calls, their bytes and time", async () => {
    const before = world.communicators[0]!.statistics();
    await world.run((communicator) => communicator.broadcast(new Uint8Array(100), 0));
    const after = world.communicators[0]!.statistics();
    expect([after.calls - before.calls, after.bytes - before.bytes]).toEqual([1, 100]);
    expect(after.nanoseconds).toBeGreaterThan(before.nanoseconds);
  });
});

describe.each(["shm", "tcp", "grpc"] as const)("%s", (transport) => {
  test.each([2, 3])("many segments among %i ranks", async (worldSize) => {
    const world = await connectWorld(worldSize, transport);
    const count = 2_500_001;
    const results = await world.run(async (communicator, rank) => {
      const data = new Int32Array(count).map((_, i) => i * (rank + 1));
      await communicator.allReduce(new Uint8Array(data.buffer), "int32", "sum");
      const factor = (worldSize * (worldSize + 1)) / 2;
      return data.every((value, i) => value === Math.imul(i, factor));
    });
    expect(results).toEqual(new Array(worldSize).fill(true));
    await world.close();
  });

  test("calls queue up in their order, without waiting for one another in JavaScript", async () => {
    const world = await connectWorld(2, transport);
    const results = await world.run(async (communicator) => {
      const data = new Float32Array([1]);
      const bytes = new Uint8Array(data.buffer);
      await Promise.all(Array.from({ length: 10 }, () => communicator.allReduce(bytes, "float32", "sum")));
      return data[0];
    });
    expect(results).toEqual([1024, 1024]);
    await world.close();
  });
});
