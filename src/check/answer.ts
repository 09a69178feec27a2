/**
 * The program that `shardrun check` runs on each host: questions in on standard input, answers out on standard output, one JSON
 * line each. It ends with its input. An agent starts it like a rank, so that what it finds is what a rank would find.
 */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, isIPv6 } from "node:net";
import { networkInterfaces } from "node:os";
import { createInterface } from "node:readline";
import { native } from "../collective/native.ts";
import { findRuntimeLibrary } from "../collective/runtime-library.ts";
import { readEnvironment } from "../environment.ts";
import { fingerprintFiles } from "../model/fingerprint.ts";
import { loadModel } from "../model/model.ts";
import type { Answer, AnswerLine, Asked, QuestionKind, QuestionLine } from "./questions.ts";

const ANSWERS: { readonly [Kind in QuestionKind]: (asked: Asked<Kind>) => Promise<Answer<Kind>> } = {
  software: async () => ({ nodeVersion: process.version, runtime: await orFailure(openRuntime) }),
  model: ({ directory }) => orFailure(() => readModel(directory)),
  clock: () => Promise.resolve({ nowMs: Date.now() }),
  route: ({ to }) => orFailure(() => findRoute(to)),
  listen: ({ address }) => orFailure(() => listen(address)),
  reach: (asked) => orFailure(() => reach(asked)),
};

async function orFailure<T>(find: () => T | Promise<T>): Promise<T | { readonly failure: string }> {
  try {
    return await find();
  } catch (error) {
    return { failure: (error as Error).message };
  }
}

function openRuntime(): { version: string } {
  return { version: native().openRuntime(findRuntimeLibrary(readEnvironment().onnxRuntimePath)) };
}

async function readModel(directory: string) {
  const { files } = await loadModel(directory);
  return { files: await fingerprintFiles(files) };
}

/** Connecting a UDP socket sends nothing: the system only chooses the way. */
async function findRoute(to: string): Promise<{ address: string; interface: string }> {
  const socket = createSocket(isIPv6(to) ? "udp6" : "udp4");
  try {
    socket.connect(1, to);
    await once(socket, "connect");
    const { address } = socket.address();
    const [name = ""] =
      Object.entries(networkInterfaces()).find(([, list = []]) => list.some((each) => each.address === address)) ?? [];
    return { address, interface: name };
  } finally {
    socket.close();
  }
}

/** Gives back what is first sent, and hangs up. */
async function listen(address: string): Promise<{ port: number }> {
  const server = createServer((socket) => {
    socket.on("error", () => socket.destroy()).once("data", (bytes: Buffer) => socket.end(bytes));
  });
  server.listen(0, address);
  await once(server, "listening");
  return { port: (server.address() as AddressInfo).port };
}

async function reach({ address, port, limitMs }: Asked<"reach">): Promise<{ roundTripMs: number }> {
  const socket = connect({ host: address, port, noDelay: true });
  const timer = setTimeout(() => socket.destroy(new Error(`no answer within ${limitMs} ms`)), limitMs);
  try {
    await once(socket, "connect");
    const startMs = performance.now();
    socket.write("?");
    await once(socket, "data");
    return { roundTripMs: performance.now() - startMs };
  } finally {
    clearTimeout(timer);
    socket.destroy();
  }
}

const lines = createInterface({ input: process.stdin });
lines.on("line", (line) => {
  const { id, kind, asked } = JSON.parse(line) as QuestionLine;
  const answer = ANSWERS[kind] as (asked: unknown) => Promise<unknown>;
  void answer(asked).then((found) => {
    process.stdout.write(`${JSON.stringify({ id, answer: found } satisfies AnswerLine)}\n`);
  });
});
lines.on("close", () => process.exit(0));
