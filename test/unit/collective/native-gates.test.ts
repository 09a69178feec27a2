/** The op GatedSilu inside graphs: what it computes, for how many rows, and what it refuses. */
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { native, type Communicator } from "../../../src/collective/native.ts";
import { ExecutionError } from "../../../src/errors.ts";
import { encodeModel } from "../../../src/model/onnx-format.ts";
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

let communicator: Communicator;

beforeAll(async () => {
  openRuntime();
  communicator = await connectAlone();
});

afterAll(() => communicator.close());

async function open(shape: readonly number[], numbers: readonly number[]) {
  const model = graph({
    inputs: [value("x", ["B", "S", "G"])],
    outputs: [value("y", ["B", "S", "F"])],
    nodes: [node("GatedSilu", ["x"], ["y"], {}, "shardrun")],
  });
  const session = await native().createSession({
    model: encodeModel(model),
    weights: [],
    intraThreads: 2,
    communicator,
  });
  try {
    const { outputs } = await session.run({ feeds: [float32("x", shape, numbers)], fetch: ["y"] });
    return outputs[0]!;
  } finally {
    await session.close();
  }
}

test("a row's second half times silu of its first, for one row, many and none", async () => {
  const numbers = Array.from({ length: 2 * 300 * 2 * 70 }, (_, i) => ((i * 7919) % 2003) / 100 - 10);
  const many = await open([2, 300, 140], numbers);
  expect(many.shape).toEqual([2, 300, 70]);
  const received = numbersOf(many);
  received.forEach((y, i) => {
    const [row, feature] = [Math.floor(i / 70), i % 70];
    const [gate, up] = [Math.fround(numbers[row * 140 + feature]!), Math.fround(numbers[row * 140 + 70 + feature]!)];
    const expected = (gate / (1 + Math.exp(-gate))) * up;
    if (Math.abs(y - expected) > 4e-7 * Math.abs(expected)) throw new Error(`${i}: ${y} instead of ${expected}`);
  });
  expect(numbersOf(await open([1, 1, 140], numbers.slice(140, 280)))).toEqual(received.slice(70, 140));
  expect((await open([1, 0, 140], [])).shape).toEqual([1, 0, 70]);
});

test("a row that has no halves is refused", async () => {
  const error = await errorOf(() => open([1, 2, 3], [1, 2, 3, 4, 5, 6]));
  expect(error).toBeInstanceOf(ExecutionError);
  expect((error as Error).message).toBe(
    'GatedSilu "y_node" expected gates and as many ups along the last axis, received shape [1, 2, 3].',
  );
});
