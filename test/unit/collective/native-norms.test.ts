/** The ops RmsNorm and AddRmsNorm inside graphs: as onnxruntime's own, for how many rows, and what they refuse. */
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { native, type Communicator, type Feed } from "../../../src/collective/native.ts";
import { ExecutionError } from "../../../src/errors.ts";
import type { GraphNode } from "../../../src/model/graph.ts";
import { encodeModel } from "../../../src/model/onnx-format.ts";
import { ownNorms } from "../../../src/model/own-ops/norms.ts";
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

const NORM = node("SimplifiedLayerNormalization", ["x", "w"], ["y"], { axis: -1, epsilon: 0.001 });
const INPUTS = ["x", "skip", "w"];
const ADD_AND_NORM = node(
  "SkipSimplifiedLayerNormalization",
  INPUTS,
  ["y", "", "", "sum"],
  { epsilon: 0.001 },
  "com.microsoft",
);

/** The outputs of one node, by onnxruntime or by our own op. */
async function run(which: GraphNode, isOwn: boolean, feeds: readonly Feed[]) {
  const outputs = which.outputs.filter((name) => name !== "");
  const plain = graph({
    inputs: feeds.map(({ name, shape }) => value(name, shape)),
    outputs: outputs.map((name) => value(name, ["B", "S", "D"])),
    nodes: [which],
  });
  const session = await native().createSession({
    model: encodeModel(isOwn ? ownNorms(plain) : plain),
    weights: [],
    intraThreads: 2,
    communicator,
  });
  try {
    return (await session.run({ feeds, fetch: outputs })).outputs;
  } finally {
    await session.close();
  }
}

const numbers = (count: number, step: number): number[] =>
  Array.from({ length: count }, (_, i) => ((i * step) % 2003) / 100 - 10);

function feed(rows: number, width: number): Feed[] {
  return [
    float32("x", [2, rows, width], numbers(2 * rows * width, 7919)),
    float32("skip", [2, rows, width], numbers(2 * rows * width, 104729)),
    float32("w", [width], numbers(width, 31)),
  ];
}

test.each([
  { which: NORM, rows: 1 },
  { which: NORM, rows: 60 },
  { which: ADD_AND_NORM, rows: 1 },
  { which: ADD_AND_NORM, rows: 60 },
])("$which.opType of $rows rows, as onnxruntime computes it", async ({ which, rows }) => {
  const feeds = feed(rows, 515).filter(({ name }) => which.inputs.includes(name));
  const [ours, theirs] = [await run(which, true, feeds), await run(which, false, feeds)];
  expect(ours.map(({ shape }) => shape)).toEqual(theirs.map(() => [2, rows, 515]));
  ours.forEach((output, index) => {
    const expected = numbersOf(theirs[index]);
    numbersOf(output).forEach((y, i) => {
      const apart = Math.abs(y - expected[i]!);
      if (!(apart <= 2e-6 * Math.abs(expected[i]!))) throw new Error(`${output.name} ${i}: ${y}, not ${expected[i]}`);
    });
  });
});

test("shapes that do not fit are refused", async () => {
  const [x, skip] = feed(3, 4) as [Feed, Feed];
  const short = float32("w", [3], [1, 2, 3]);
  const narrow = float32("skip", [2, 3, 1], [1, 2, 3, 4, 5, 6]);
  const errors = [
    await errorOf(() => run(NORM, true, [x, short])),
    await errorOf(() => run(ADD_AND_NORM, true, [x, skip, short])),
    await errorOf(() => run(ADD_AND_NORM, true, [x, narrow, float32("w", [4], [1, 2, 3, 4])])),
  ];
  for (const error of errors) expect(error).toBeInstanceOf(ExecutionError);
  expect(errors.map((error) => (error as Error).message)).toEqual([
    'RmsNorm "y_node" expected a weight as long as its input\'s last axis, received [3] for [2, 3, 4].',
    'AddRmsNorm "y_node" expected a weight as long as its input\'s last axis, received [3] for [2, 3, 4].',
    'AddRmsNorm "y_node" expected two inputs of one shape, received [2, 3, 4] and [2, 3, 1].',
  ]);
});
