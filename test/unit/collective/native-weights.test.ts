/** Weights: mapped from files at any offset, used where they lie, prepacked once for all sessions of a model. */
import { closeSync, openSync, readFileSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { native, type Communicator, type PrepackedWeights, type Session } from "../../../src/collective/native.ts";
import { UsageError } from "../../../src/errors.ts";
import { encodeModel } from "../../../src/model/onnx-format.ts";
import { useTemporaryDirectory } from "../../support/temporary-directory.ts";
import {
  connectAlone,
  errorOf,
  float32,
  graph,
  node,
  numbersOf,
  openRuntime,
  value,
} from "../../support/tiny-graph.ts";

const directory = useTemporaryDirectory();
const communicators: Communicator[] = [];

beforeAll(async () => {
  openRuntime();
  communicators.push(await connectAlone(), await connectAlone());
});

afterAll(async () => {
  for (const communicator of communicators) await communicator.close();
});

describe("a mapped file", () => {
  const file = join(directory, "bytes");
  const bytes = Uint8Array.from({ length: 10_000 }, (_, i) => (i * 7) % 251);
  beforeAll(() => writeFileSync(file, bytes));

  test.each([
    [0, 10_000],
    [1, 3],
    [4095, 2],
    [4096, 5904],
    [9999, 1],
    [10_000, 0],
  ])("from %d, %d bytes", (offset, numBytes) => {
    const mapped = native().mapFile(file, offset, numBytes);
    expect(Buffer.compare(mapped, bytes.subarray(offset, offset + numBytes))).toBe(0);
    expect(mapped.byteOffset % 4096).toBe(numBytes === 0 ? 0 : offset % 4096);
  });

  test.each([
    ["a file that is missing", join(directory, "nothing"), 0, 1, "No such file or directory"],
    ["a directory", directory, 0, 1 << 20, /^bytes \[0, 1048576\) reach past its end at \d+$/],
    ["a range past the end", file, 9_999, 2, "bytes [9999, 10001) reach past its end at 10000"],
    ["a beginning past the end", file, 10_001, 0, "bytes [10001, 10001) reach past its end at 10000"],
  ])("%s", async (_, path, offset, numBytes, reason) => {
    const error = (await errorOf(() => native().mapFile(path, offset, numBytes))) as UsageError;
    expect(error).toBeInstanceOf(UsageError);
    const prefix = `Mapping ${path} failed: `;
    expect(error.message.startsWith(prefix)).toBe(true);
    expect(error.message.slice(prefix.length, -1)).toMatch(reason);
  });
});

describe("sessions of one model", () => {
  // Large enough for malloc to give its memory back at once.
  const SIZE = 3072;
  const WEIGHT_BYTES = SIZE * SIZE * 4;
  // x: [B, D]   w: [D, D]   y: [B, D]
  const model = encodeModel(
    graph({
      inputs: [value("x", ["B", SIZE])],
      outputs: [value("y", ["B", SIZE])],
      nodes: [node("FusedMatMul", ["x", "w"], ["y"], { transB: 1 }, "com.microsoft")],
      weights: { w: [SIZE, SIZE] },
    }),
  );
  const x = float32("x", [1, SIZE], new Float32Array(SIZE).fill(0.5));

  const file = join(directory, "weight");

  // Row i is all i / 1024; the weight begins at an odd place.
  beforeAll(() => {
    const descriptor = openSync(file, "w");
    writeSync(descriptor, new Uint8Array(12));
    for (let i = 0; i < SIZE; ++i) writeSync(descriptor, new Float32Array(SIZE).fill(i / 1024));
    closeSync(descriptor);
  });

  setFlagsFromString("--expose-gc");
  const collectGarbage = runInNewContext("gc") as () => void;

  function anonymousBytes(): number {
    collectGarbage();
    return Number(/RssAnon:\s+(\d+) kB/.exec(readFileSync("/proc/self/status", "utf8"))![1]) * 1024;
  }

  /** Creates two sessions, each with a communicator of its own; returns what each added to the anonymous memory. */
  async function createTwo(data: Uint8Array, prepackedWeights?: PrepackedWeights): Promise<[Session[], number[]]> {
    const sessions: Session[] = [];
    const added: number[] = [];
    for (const communicator of communicators) {
      const before = anonymousBytes();
      const weights = [{ name: "w", dataType: "float32", shape: [SIZE, SIZE], data }];
      sessions.push(await native().createSession({ model, weights, intraThreads: 1, communicator, prepackedWeights }));
      added.push(anonymousBytes() - before);
    }
    return [sessions, added];
  }

  test("share one prepacked copy, and answer alike at the same time", async () => {
    const prepacked = native().createPrepackedWeights();
    const [sessions, added] = await createTwo(native().mapFile(file, 12, WEIGHT_BYTES), prepacked);
    prepacked.close();
    expect(added[0]).toBeGreaterThan(0.9 * WEIGHT_BYTES);
    expect(added[1]).toBeLessThan(0.2 * WEIGHT_BYTES);
    const results = await Promise.all(sessions.map((session) => session.run({ feeds: [x], fetch: ["y"] })));
    for (const { outputs } of results) {
      expect(numbersOf(outputs[0])).toEqual(Array.from({ length: SIZE }, (_, i) => i * 1.5));
    }
    await Promise.all(sessions.map((session) => session.close()));
  });

  test("have a copy each without a container", async () => {
    const [sessions, added] = await createTwo(native().mapFile(file, 12, WEIGHT_BYTES));
    expect(Math.min(...added)).toBeGreaterThan(0.9 * WEIGHT_BYTES);
    await Promise.all(sessions.map((session) => session.close()));
  });
});
