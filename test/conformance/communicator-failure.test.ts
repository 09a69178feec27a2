/** How calls fail, over every transport: the whole message, the class, the rank it names, and that nobody is left waiting. */
import { describe, expect, test } from "@jest/globals";
import { native, type Communicator } from "../../src/collective/native.ts";
import { CollectiveError, UsageError } from "../../src/errors.ts";
import { connectWorld } from "../support/communicator-world.ts";

const sum = (communicator: Communicator, label: string, timeoutMs?: number) =>
  communicator.allReduce(new Uint8Array(16), "float32", "sum", { label, timeoutMs });

describe.each(["shm", "tcp", "grpc"] as const)("%s", (transport) => {
  test("a rank that does not come is named when the deadline passes", async () => {
    const world = await connectWorld(2, transport);
    const [error] = await world.errors(async (communicator, rank) => {
      if (rank === 0) await sum(communicator, "layers.3.o_proj", 100);
    });
    expect(error).toBeInstanceOf(CollectiveError);
    expect(error).toMatchObject({
      message:
        `allReduce timed out after 100 ms on rank 0 (hosta): nothing received from rank 1 (hosta, ${transport}) for ` +
        `"layers.3.o_proj" [4] float32, 16 bytes. Look at the output of rank 1, which may be stopped or busy, or ` +
        `allow more time with timeoutMs.`,
      code: "ERR_SHARDRUN_COLLECTIVE",
      rank: 1,
    });
    await world.close();
  });

  test("the communicator's own deadline holds where a call names none", async () => {
    const world = await connectWorld(2, transport, 80);
    const [error] = await world.errors(async (communicator, rank) => {
      if (rank === 0) await communicator.barrier();
    });
    expect(error).toHaveProperty(
      "message",
      `barrier timed out after 80 ms on rank 0 (hosta): nothing received from rank 1 (hosta, ${transport}). ` +
        `Look at the output of rank 1, which may be stopped or busy, or allow more time with timeoutMs.`,
    );
    await world.close();
  });

  test("a receiver that does not take", async () => {
    const world = await connectWorld(2, transport);
    const [error] = await world.errors(async (communicator, rank) => {
      if (rank === 0) await communicator.send(new Uint8Array(1 << 26), 1, { label: "cache", timeoutMs: 150 });
    });
    const text = (error as Error).message.replace(/took only \d+ of/, "took only N of");
    expect(text).toBe(
      `send timed out after 150 ms on rank 0 (hosta): rank 1 (hosta, ${transport}) took only N of 67108864 bytes ` +
        `for "cache". Look at the output of rank 1, which may be stopped or busy, or allow more time with timeoutMs.`,
    );
    await world.close();
  });

  test("several ranks that do not come are all named", async () => {
    const world = await connectWorld(3, transport);
    const [error] = await world.errors(async (communicator, rank) => {
      if (rank === 0) await communicator.broadcastMessage(undefined, 1, { label: "step", timeoutMs: 60 });
    });
    expect(error).toHaveProperty(
      "message",
      `broadcastMessage timed out after 60 ms on rank 0 (hosta): nothing received from rank 1 (hosta, ${transport}), ` +
        `rank 2 (hosta, ${transport}) for "step", a message. Look at the output of ranks 1, 2, which may be stopped or ` +
        `busy, or allow more time with timeoutMs.`,
    );
    await world.close();
  });

  test.each([
    {
      what: "different operations",
      zero: (communicator: Communicator) => sum(communicator, "a"),
      one: (communicator: Communicator) => communicator.barrier(),
      text: [`allReduce (sum) of "a" [4] float32, 16 bytes`, "barrier"],
      verb: ["allReduce", "barrier"],
    },
    {
      what: "different sizes",
      zero: (communicator: Communicator) => communicator.broadcast(new Uint8Array(10), 0),
      one: (communicator: Communicator) => communicator.broadcast(new Uint8Array(12), 0),
      text: ["broadcast from rank 0 of 10 bytes", "broadcast from rank 0 of 12 bytes"],
      verb: ["broadcast", "broadcast"],
    },
    {
      what: "different roots",
      zero: (communicator: Communicator) => communicator.broadcastMessage(Uint8Array.of(1, 2), 0),
      one: (communicator: Communicator) => communicator.broadcastMessage(undefined, 1),
      text: ["broadcastMessage from rank 0 of a message of 2 bytes", "broadcastMessage from rank 1 of a message"],
      verb: ["broadcastMessage", "broadcastMessage"],
    },
  ])("ranks in different calls both say which: $what", async ({ zero, one, text, verb }) => {
    const world = await connectWorld(2, transport);
    const errors = await world.errors((communicator, rank) => (rank === 0 ? zero(communicator) : one(communicator)));
    const remedy = "Every rank must make the same calls, in the same order and with the same sizes.";
    for (const [rank, peer] of [
      [0, 1],
      [1, 0],
    ] as const) {
      expect(errors[rank]).toHaveProperty(
        "message",
        `${verb[rank]} failed on rank ${rank} (hosta): rank ${peer} (hosta, ${transport}) is at step 1: ${text[peer]}; ` +
          `this rank at step 1: ${text[rank]}. ${remedy}`,
      );
    }
    await world.close();
  });

  test("the same total in other sizes per rank is a mismatch, too", async () => {
    const world = await connectWorld(2, transport);
    const layouts = [
      [1, 3],
      [2, 2],
    ] as const;
    const errors = await world.errors((communicator, rank) =>
      communicator.allGather(new Uint8Array(layouts[rank]![rank]!), new Uint8Array(4), layouts[rank]!),
    );
    expect(errors[0]).toHaveProperty(
      "message",
      `allGather failed on rank 0 (hosta): rank 1 (hosta, ${transport}) is at step 1: allGather of 4 bytes; this rank ` +
        `at step 1: allGather of 4 bytes, with other sizes per rank. Every rank must make the same calls, in the same ` +
        `order and with the same sizes.`,
    );
    expect(errors[1]).toBeInstanceOf(CollectiveError);
    await world.close();
  });

  test("an abort ends a wait without a deadline, tells the peers, and stays", async () => {
    const world = await connectWorld(3, transport);
    setTimeout(() => world.communicators[1]!.abort("Rank 2 was stopped by the operator.", 2), 60);
    const errors = await world.errors(async (communicator, rank) => {
      if (rank !== 2) await communicator.barrier({ timeoutMs: 0 });
    });
    expect(errors[1]).toMatchObject({ message: "Rank 2 was stopped by the operator.", rank: 2 });
    expect(errors[0]).toMatchObject({
      message:
        `barrier failed on rank 0 (hosta): rank 1 (hosta, ${transport}) gave up with: ` +
        `Rank 2 was stopped by the operator.`,
      rank: 1,
    });
    await expect(world.communicators[1]!.barrier()).rejects.toThrow("Rank 2 was stopped by the operator.");
    await world.close();
  });

  test("an abort of the listener ends what was connected through it, and no other world of the process", async () => {
    const world = await connectWorld(2, transport);
    const other = await connectWorld(2, transport);
    setTimeout(() => world.abort(0, "Rank 5 (hostb) was lost.", 5), 60);
    const [error] = await world.errors(async (communicator, rank) => {
      if (rank === 0) await communicator.barrier({ timeoutMs: 0 });
    });
    expect(error).toMatchObject({ message: "Rank 5 (hostb) was lost.", rank: 5 });
    await other.run((communicator) => communicator.barrier());
    await world.close();
    await other.close();
  });

  test("a peer that has closed is missed by the next call", async () => {
    const world = await connectWorld(2, transport);
    await world.run((communicator) => communicator.barrier());
    await world.communicators[1]!.close();
    const [error] = await world.errors(async (communicator, rank) => {
      if (rank === 0) await sum(communicator, "late");
    });
    expect((error as Error).message.replace(/after \d+ ms/, "after N ms")).toBe(
      `allReduce failed after N ms on rank 0 (hosta): the connection to rank 1 (hosta, ${transport}) ended while ` +
        `waiting for "late" [4] float32, 16 bytes. Look at the output of rank 1, which may have ended or crashed.`,
    );
    await world.close();
  });
});

describe("wrong arguments", () => {
  test.each<[string, (communicator: Communicator) => unknown]>([
    [
      "broadcast: expected root to be a rank of this communicator's 1, received 1.",
      (c) => c.broadcast(new Uint8Array(1), 1),
    ],
    [
      "send: expected peer to be another rank of this communicator's 1, received 0.",
      (c) => c.send(new Uint8Array(1), 0),
    ],
    [
      "allGather: expected one size per rank, which makes 1, received 2.",
      (c) => c.allGather(new Uint8Array(1), new Uint8Array(2), [1, 1]),
    ],
    [
      "allGather: expected input to have 2 bytes, received 1.",
      (c) => c.allGather(new Uint8Array(1), new Uint8Array(2), [2]),
    ],
    [
      "allGather: expected output to have 1 bytes, received 2.",
      (c) => c.allGather(new Uint8Array(1), new Uint8Array(2), [1]),
    ],
    [
      "reduceScatter: expected input to have 8 bytes, received 4.",
      (c) => c.reduceScatter(new Uint8Array(4), new Uint8Array(8), [2], "float32", "sum"),
    ],
    [
      "allReduce: expected whole, aligned float32 elements of 4 bytes, received 6 bytes at offset 0 of their buffer.",
      (c) => c.allReduce(new Uint8Array(6), "float32", "sum"),
    ],
    [
      "allReduce: expected whole, aligned int64 elements of 8 bytes, received 8 bytes at offset 4 of their buffer.",
      (c) => c.allReduce(new Uint8Array(new ArrayBuffer(16), 4, 8), "int64", "sum"),
    ],
    [
      'Expected the data type float32, float16, bfloat16, int32, int64 or uint8, received "float64".',
      (c) => c.allReduce(new Uint8Array(8), "float64" as "float32", "sum"),
    ],
    [
      'Expected the reduction sum or max, received "min".',
      (c) => c.allReduce(new Uint8Array(8), "float32", "min" as "max"),
    ],
  ])("%s", async (message, call) => {
    const world = await connectWorld(1, "local");
    const error: unknown = await Promise.resolve()
      .then(() => call(world.communicators[0]!))
      .catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(UsageError);
    expect(error).toHaveProperty("message", message);
    // A wrong argument does not end the communicator.
    await world.communicators[0]!.barrier();
    await world.close();
  });

  test("a closed communicator refuses calls, and may be closed again", async () => {
    const world = await connectWorld(1, "local");
    await world.close();
    await expect(world.communicators[0]!.barrier()).rejects.toThrow("The communicator is closed: create another one.");
    await world.communicators[0]!.close();
  });

  test("connect refuses what is no listener", () => {
    const options = { id: 1, epoch: 1, rank: 0, worldSize: 1, peers: [], transport: "auto", timeoutMs: 0 } as const;
    expect(() => native().connect({} as never, options)).toThrow(
      new UsageError("connect: expected a Listener, as listen returns it."),
    );
  });
});
