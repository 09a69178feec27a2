/** Rank 0's open port over real sockets: who has to go and when, who may stay, and what is said of it. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { afterEach, expect, test } from "@jest/globals";
import { Door, MOST_STRANGERS, PROOF_LIMIT_MS } from "../../../src/rendezvous/door.ts";

const cleanups: (() => unknown)[] = [];

afterEach(() => {
  for (const cleanup of cleanups.splice(0).reverse()) cleanup();
});

/** A door whose server takes a connection by answering it, and hangs up when it has read "garbage". */
async function openDoor() {
  const strangers: string[] = [];
  const door = new Door({
    serve: (socket) => {
      socket.write("welcome");
      socket.on("data", (bytes: Buffer) => bytes.toString() === "garbage" && socket.destroy());
    },
    onFirstStranger: (peer) => strangers.push(peer),
  });
  const address = await door.listen("127.0.0.1:0");
  cleanups.push(() => door.close());
  return { door, strangers, port: Number(/^127\.0\.0\.1:(\d+)$/.exec(address)?.[1]) };
}

interface Visitor {
  readonly socket: Socket;
  /** As the door knows it. */
  readonly name: string;
  /** Resolves when it has been sent away. */
  readonly gone: Promise<unknown>;
}

async function visit(port: number, text = ""): Promise<Visitor> {
  const socket = connect(port, "127.0.0.1");
  cleanups.push(() => socket.destroy());
  socket.on("error", () => {}); // a reset is one way to be sent away
  const gone = new Promise((resolve) => socket.once("close", resolve));
  await once(socket, "data");
  if (text !== "") socket.write(text);
  return { socket, name: `127.0.0.1:${socket.localPort}`, gone };
}

test("whoever has not proven the secret in time has to go, and the first is named; whoever has may stay", async () => {
  const { door, strangers, port } = await openDoor();
  const silent = await visit(port);
  const startMs = performance.now();
  const rank = await visit(port);
  door.admit(rank.name);
  const halfway = await visit(port, "half a fra");
  await Promise.all([silent.gone, halfway.gone]);
  expect(performance.now() - startMs).toBeGreaterThan(0.9 * PROOF_LIMIT_MS);
  expect([strangers, rank.socket.destroyed]).toEqual([[silent.name], false]);
  door.close();
  rank.socket.write("garbage"); // is still read, though no door is left
  await rank.gone;
});

test("few wait at once: for the next, the one that has waited longest goes", async () => {
  const { door, strangers, port } = await openDoor();
  const rank = await visit(port);
  door.admit(rank.name);
  const visitors = await Promise.all(Array.from({ length: MOST_STRANGERS }, () => visit(port)));
  expect(strangers).toEqual([]);
  visitors.push(await visit(port));
  await Promise.race(visitors.map(({ gone }) => gone));
  const [gone, ...others] = visitors.filter(({ socket }) => socket.destroyed);
  expect([strangers, others, rank.socket.destroyed]).toEqual([[gone!.name], [], false]);
});

test("one that was hung up on is named; one that only looked, and went, is not", async () => {
  const { strangers, port } = await openDoor();
  const curious = await visit(port);
  curious.socket.destroy();
  const loud = await visit(port, "garbage");
  await loud.gone;
  expect(strangers).toEqual([loud.name]);
});

test("a wrong proof is reported at once, and leaves time to say so", async () => {
  const { door, strangers, port } = await openDoor();
  const visitor = await visit(port);
  door.report(visitor.name);
  door.report("another");
  expect([strangers, visitor.socket.destroyed]).toEqual([[visitor.name], false]);
});
