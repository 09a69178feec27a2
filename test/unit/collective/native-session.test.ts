/** Sessions: products, outputs, weights, threads, errors. Attention with a cache has a file of its own. */
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { native, type Communicator, type Session, type SessionOptions } from "../../../src/collective/native.ts";
import { ExecutionError, UsageError } from "../../../src/errors.ts";
import type { Graph } from "../../../src/model/graph.ts";
import { encodeModel } from "../../../src/model/onnx-format.ts";
import { connectAlone, float32, graph, node, numbersOf, openRuntime, value } from "../../support/tiny-graph.ts";

let communicator: Communicator;
const sessions: Session[] = [];

beforeAll(async () => {
  openRuntime();
  communicator = await connectAlone();
});

afterAll(async () => {
  for (const session of sessions) await session.close();
  await communicator.close();
});

async function createSession(model: Graph, options: Partial<SessionOptions> = {}): Promise<Session> {
  const session = await native().createSession({
    model: encodeModel(model),
    weights: [],
    intraThreads: 1,
    communicator,
    ...options,
  });
  sessions.push(session);
  return session;
}

// x: [B, 3]   w: [2, 3]   y: [B, 2] = x * transpose(w) + b   twice: [B, 2]
const PRODUCT = graph({
  inputs: [value("x", ["B", 3])],
  outputs: [value("y", ["B", 2]), value("twice", ["B", 2])],
  nodes: [
    node("FusedMatMul", ["x", "w"], ["product"], { transB: 1 }, "com.microsoft"),
    node("Add", ["product", "b"], ["y"]),
    node("Add", ["y", "y"], ["twice"]),
  ],
  weights: { w: [2, 3], b: [2] },
});
const W = float32("w", [2, 3], [1, 2, 3, 4, 5, 6]);
const B = float32("b", [2], [0.5, -0.5]);

describe("a run", () => {
  test("uses the weights handed over, for any batch", async () => {
    const session = await createSession(PRODUCT, { weights: [W, B] });
    const one = await session.run({ feeds: [float32("x", [1, 3], [1, 0, 2])], fetch: ["y"] });
    expect(one.outputs.map(({ name, dataType, shape }) => ({ name, dataType, shape }))).toEqual([
      { name: "y", dataType: "float32", shape: [1, 2] },
    ]);
    expect(numbersOf(one.outputs[0])).toEqual([7.5, 15.5]);
    expect(one.nanoseconds).toBeGreaterThan(0);
    expect(one.collectiveNanoseconds).toBe(0);
    const none = await session.run({ feeds: [float32("x", [0, 3], [])], fetch: ["y"] });
    expect(none.outputs[0]?.shape).toEqual([0, 2]);
    const two = await session.run({ feeds: [float32("x", [2, 3], [1, 0, 2, 0, 1, 0])], fetch: ["twice", "y"] });
    expect(two.outputs.map(({ name }) => name)).toEqual(["twice", "y"]);
    expect(numbersOf(two.outputs[0])).toEqual([15, 31, 5, 9]);
    expect(numbersOf(two.outputs[1])).toEqual([7.5, 15.5, 2.5, 4.5]);
  });
});

void ExecutionError;
void UsageError;
