/** Collectives inside graphs: AllReduce and AllGather between the sessions of a world, and how they fail. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import { native, type Communicator, type RunResult, type Session } from "../../../src/collective/native.ts";
import { CollectiveError, ExecutionError } from "../../../src/errors.ts";
import type { Graph } from "../../../src/model/graph.ts";
import { encodeModel } from "../../../src/model/onnx-format.ts";
import {
  connectWorld,
  errorOf,
  float32,
  graph,
  node,
  numbersOf,
  openRuntime,
  value,
} from "../../support/tiny-graph.ts";

const WORLD_SIZE = 3;

let communicators: Communicator[];
const open: { close(): Promise<void> }[] = [];

beforeAll(() => {
  openRuntime();
});

beforeEach(async () => {
  communicators = await connectWorld(WORLD_SIZE);
  open.push(...communicators);
});

afterAll(async () => {
  for (const resource of open.reverse()) await resource.close();
});

/** One session per rank; `graphOf` says each rank's graph. */
async function createSessions(graphOf: (rank: number) => Graph): Promise<Session[]> {
  const sessions = await Promise.all(
    communicators.map((communicator, rank) =>
      native().createSession({ model: encodeModel(graphOf(rank)), weights: [], intraThreads: 1, communicator }),
    ),
  );
  open.push(...sessions);
  return sessions;
}

/** Runs every rank with its own x, fetching `fetch`. */
function runAll(
  sessions: readonly Session[],
  xOf: (rank: number) => { shape: readonly number[]; numbers: readonly number[] },
  fetch: readonly string[],
): Promise<RunResult[]> {
  return Promise.all(
    sessions.map((session, rank) => {
      const { shape, numbers } = xOf(rank);
      return session.run({ feeds: [float32("x", shape, numbers)], fetch });
    }),
  );
}

// x: [B, 2] -> square {sum} -> sum -> plus x {max} -> max; and the sum once more behind, which keeps it from being overwritten
const CHAIN = graph({
  inputs: [value("x", ["B", 2])],
  outputs: [value("max", ["B", 2]), value("difference", ["B", 2])],
  nodes: [
    node("Mul", ["x", "x"], ["square"]),
    node("AllReduce", ["square"], ["sum", "token_0"], { op: "sum", label: "layers.0.o_proj" }, "shardrun"),
    node("Add", ["sum", "x"], ["moved"]),
    node("AllReduce", ["moved", "token_0"], ["max", "token_1"], { op: "max", label: "layers.0.down_proj" }, "shardrun"),
    node("Sub", ["max", "sum"], ["difference"]),
  ],
});

describe("AllReduce", () => {
  test("sums and takes maxima, chained by tokens, for any shape", async () => {
    const sessions = await createSessions(() => CHAIN);
    for (const numRows of [1, 4, 0, 1000]) {
      const x = (rank: number) => Array.from({ length: numRows * 2 }, (_, i) => i + rank);
      const sum = Array.from({ length: numRows * 2 }, (_, i) => i ** 2 + (i + 1) ** 2 + (i + 2) ** 2);
      const results = await runAll(sessions, (rank) => ({ shape: [numRows, 2], numbers: x(rank) }), [
        "max",
        "difference",
      ]);
      for (const { outputs, nanoseconds, collectiveNanoseconds } of results) {
        expect(numbersOf(outputs[0])).toEqual(sum.map((total, i) => total + i + WORLD_SIZE - 1));
        expect(numbersOf(outputs[1])).toEqual(sum.map((_, i) => i + WORLD_SIZE - 1));
        expect(collectiveNanoseconds).toBeGreaterThan(0);
        expect(collectiveNanoseconds).toBeLessThan(nanoseconds);
      }
    }
    expect(communicators.map((communicator) => communicator.statistics().calls)).toEqual([8, 8, 8]);
  });

  test("reduces what an AllGather, a Reshape or a Gather made, whose shapes onnxruntime does not know", async () => {
    const sessions = await createSessions((rank) =>
      graph({
        inputs: [value("x", ["A", "B"])],
        outputs: [value("y", ["C", "D"])],
        nodes: [
          node("AllGather", ["x"], ["all", "token_0"], { axis: 1, sizes: [2, 2, 2], label: "gathered" }, "shardrun"),
          node("AllReduce", ["all", "token_0"], ["sum", "token_1"], { op: "sum", label: "sum" }, "shardrun"),
          node("Shape", ["sum"], ["shape"]),
          node("Reshape", ["sum", "shape"], ["reshaped"]),
          node(
            "AllReduce",
            ["reshaped", "token_1"],
            ["max", "token_2"],
            { op: "max", label: `max of ${rank}` },
            "shardrun",
          ),
          node("Add", ["max", "max"], ["y"]),
        ],
      }),
    );
    const results = await runAll(sessions, (rank) => ({ shape: [2, 2], numbers: [rank, 1, 2, 3] }), ["y"]);
    for (const { outputs } of results) {
      expect(outputs[0]?.shape).toEqual([2, 6]);
      expect(numbersOf(outputs[0])).toEqual([0, 6, 6, 6, 12, 6, 12, 18, 12, 18, 12, 18]);
    }
  });

  test("reduces integers exactly", async () => {
    const sessions = await createSessions(() =>
      graph({
        inputs: [value("x", [2])],
        outputs: [{ name: "y", dataType: "int32", shape: [2] }],
        nodes: [
          node("Cast", ["x"], ["integers"], { to: 6 }),
          node("AllReduce", ["integers"], ["y"], { op: "sum", label: "partials" }, "shardrun"),
        ],
      }),
    );
    const results = await runAll(sessions, (rank) => ({ shape: [2], numbers: [2 ** 24, -rank] }), ["y"]);
    for (const { outputs } of results) {
      expect([...new Int32Array(outputs[0]!.data.buffer)]).toEqual([3 * 2 ** 24, -3]);
    }
  });

  test("leaves a graph input as it was", async () => {
    const sessions = await createSessions(() =>
      graph({
        inputs: [value("x", [2])],
        outputs: [value("y", [2])],
        nodes: [node("AllReduce", ["x"], ["y"], { op: "sum", label: "x" }, "shardrun")],
      }),
    );
    const feeds = [1, 2, 3].map((number) => float32("x", [2], [number, -number]));
    const results = await Promise.all(
      sessions.map((session, rank) => session.run({ feeds: [feeds[rank]!], fetch: ["y"] })),
    );
    expect(results.map(({ outputs }) => numbersOf(outputs[0]))).toEqual(feeds.map(() => [6, -6]));
    expect([...new Float32Array(feeds[1]!.data.buffer)]).toEqual([2, -2]);
  });
});

describe("AllGather", () => {
  const SIZES = [2, 0, 3];
  const gather = (axis: number) =>
    graph({
      inputs: [value("x", ["A", "C", "E"])],
      outputs: [value("y", ["A", "C", "E"])],
      nodes: [node("AllGather", ["x"], ["y", "token"], { axis, sizes: SIZES, label: "logits" }, "shardrun")],
    });

  test.each([0, 1, 2, -1])("joins parts of uneven sizes along axis %d", async (axis) => {
    const sessions = await createSessions(() => gather(axis));
    const along = axis < 0 ? axis + 3 : axis;
    const whole = [2, 2, 2].map((size, i) => (i === along ? 5 : size));
    // the value at [a, c, e] of the whole is a * 100 + c * 10 + e
    const stretch = (begin: number, size: number) => {
      const numbers: number[] = [];
      const [from, to] = [0, 1, 2]
        .map((i) => (i === along ? [begin, begin + size] : [0, 2]))
        .reduce(
          ([f, t], [low, high]) => [
            [...f!, low!],
            [...t!, high!],
          ],
          [[], []] as number[][],
        ) as [number[], number[]];
      for (let a = from[0]!; a < to[0]!; ++a) {
        for (let c = from[1]!; c < to[1]!; ++c) {
          for (let e = from[2]!; e < to[2]!; ++e) numbers.push(a * 100 + c * 10 + e);
        }
      }
      return numbers;
    };
    const results = await runAll(
      sessions,
      (rank) => ({
        shape: whole.map((size, i) => (i === along ? SIZES[rank]! : size)),
        numbers: stretch(
          SIZES.slice(0, rank).reduce((sum, size) => sum + size, 0),
          SIZES[rank]!,
        ),
      }),
      ["y"],
    );
    for (const { outputs } of results) {
      expect(outputs[0]?.shape).toEqual(whole);
      expect(numbersOf(outputs[0])).toEqual(stretch(0, 5));
    }
  });

  test("refuses a part of another size", async () => {
    const sessions = await createSessions(() => gather(1));
    const results = await Promise.all(
      sessions.map((session) =>
        errorOf(() => session.run({ feeds: [float32("x", [1, 4, 1], [1, 2, 3, 4])], fetch: ["y"] })),
      ),
    );
    expect(results).toEqual(
      SIZES.map(
        (size) =>
          new ExecutionError(
            `AllGather "logits" expected ${size} along axis 1 of its input, received shape [1, 4, 1].`,
          ),
      ),
    );
  });

  test("refuses sizes for another world", async () => {
    const wrong = graph({
      ...gather(0),
      nodes: [node("AllGather", ["x"], ["y"], { axis: 0, sizes: [1, 2], label: "logits" }, "shardrun")],
      weights: {},
    });
    expect(await errorOf(() => createSessions(() => wrong))).toEqual(
      new ExecutionError('AllGather "logits" has sizes for 2 ranks, the world has 3.'),
    );
  });
});

describe("failure", () => {
  const x = { feeds: [float32("x", [1, 2], [1, 2])], fetch: ["max"] };

  test("an abort ends the runs under way, and later ones, in its own words", async () => {
    const sessions = await createSessions(() => CHAIN);
    const waiting = sessions.slice(1).map((session) => errorOf(() => session.run(x)));
    await new Promise((resolve) => setTimeout(resolve, 50));
    for (const communicator of communicators) communicator.abort("Rank 0 was stopped.", 0);
    const stopped = new CollectiveError("Rank 0 was stopped.", { rank: 0 });
    for (const error of await Promise.all(waiting)) {
      expect(error).toBeInstanceOf(CollectiveError);
      expect((error as CollectiveError).message).toContain("Rank 0 was stopped.");
    }
    expect(await errorOf(() => sessions[0]!.run(x))).toEqual(stopped);
  });

  test("a rank that does not come is named when time is up", async () => {
    communicators = await connectWorld(2, 200);
    open.push(...communicators);
    const sessions = await createSessions(() => CHAIN);
    expect(await errorOf(() => sessions[1]!.run(x))).toEqual(
      new CollectiveError(
        "allReduce timed out after 200 ms on rank 1 (localhost): nothing received from rank 0 (localhost, shm) for " +
          '"layers.0.o_proj" [2] float32, 8 bytes. Look at the output of rank 0, which may be stopped or busy, ' +
          "or allow more time with timeoutMs.",
        { rank: 0 },
      ),
    );
  });

  test("an op that it does not know", async () => {
    const mean = node("AllReduce", ["x"], ["max"], { op: "mean", label: "o_proj" }, "shardrun");
    const wrong = graph({ ...CHAIN, nodes: [mean, node("Sub", ["max", "x"], ["difference"])], weights: {} });
    expect(await errorOf(() => createSessions(() => wrong))).toEqual(
      new ExecutionError('AllReduce "o_proj" cannot "mean": expected op sum or max.'),
    );
  });

  test("element types that do not travel", async () => {
    const sessions = await createSessions(() =>
      graph({
        inputs: [value("x", [2])],
        outputs: [{ name: "y", dataType: "int8", shape: [2] }],
        nodes: [
          node("Cast", ["x"], ["bytes"], { to: 3 }),
          node("AllReduce", ["bytes"], ["y"], { op: "sum", label: "o_proj" }, "shardrun"),
        ],
      }),
    );
    expect(await errorOf(() => sessions[0]!.run({ feeds: [float32("x", [2], [1, 2])], fetch: ["y"] }))).toEqual(
      new ExecutionError("Tensors of int8 do not travel in collectives."),
    );
  });
});
