/** Sessions: products, outputs, weights, threads, errors. Attention with a cache and collectives have files of their own. */
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { native, type Communicator, type Session, type SessionOptions } from "../../../src/collective/native.ts";
import { ExecutionError, UsageError } from "../../../src/errors.ts";
import type { Graph } from "../../../src/model/graph.ts";
import { ModelProto, type TensorProto_DataType as OnnxDataType } from "../../../src/model/generated/onnx.ts";
import { encodeModel } from "../../../src/model/onnx-format.ts";
import {
  connectAlone,
  errorOf,
  float32,
  graph,
  int32,
  node,
  numbersOf,
  openRuntime,
  value,
} from "../../support/tiny-graph.ts";

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
const WEIGHTS = [float32("w", [2, 3], [1, 2, 3, 4, 5, 6]), float32("b", [2], [0.5, -0.5])];
const X = float32("x", [1, 3], [1, 0, 2]);

// x: [C]   y: [C], a long way from x
const LONG = graph({
  inputs: [value("x", ["C"])],
  outputs: [value("y", ["C"])],
  nodes: Array.from({ length: 200 }, (_, i) =>
    node("Tanh", [i === 0 ? "x" : `h${i}`], [i === 199 ? "y" : `h${i + 1}`]),
  ),
});

describe("a run", () => {
  test("uses the weights handed over, for any batch", async () => {
    const session = await createSession(PRODUCT, { weights: WEIGHTS });
    const one = await session.run({ feeds: [X], fetch: ["y"] });
    expect(one.outputs.map(({ name, dataType, shape }) => ({ name, dataType, shape }))).toEqual([
      { name: "y", dataType: "float32", shape: [1, 2] },
    ]);
    expect(numbersOf(one.outputs[0])).toEqual([7.5, 15.5]);
    expect(one.nanoseconds).toBeGreaterThan(0);
    expect(one.collectiveNanoseconds).toBe(0);
    const none = await session.run({ feeds: [float32("x", [0, 3], [])], fetch: ["y"] });
    expect([none.outputs[0]?.shape, none.outputs[0]?.data.byteLength]).toEqual([[0, 2], 0]);
    const two = await session.run({ feeds: [float32("x", [2, 3], [1, 0, 2, 0, 1, 0])], fetch: ["twice", "y"] });
    expect(two.outputs.map(({ name }) => name)).toEqual(["twice", "y"]);
    expect(numbersOf(two.outputs[0])).toEqual([15, 31, 5, 9]);
    expect(numbersOf(two.outputs[1])).toEqual([7.5, 15.5, 2.5, 4.5]);
  });

  test("returns every element type", async () => {
    const types = ["float32", "float16", "bfloat16", "int64", "int32", "int8", "uint8", "bool"] as const;
    const onnxTypes = [1, 10, 16, 7, 6, 3, 2, 9];
    const session = await createSession(
      graph({
        inputs: [value("x", [2])],
        outputs: types.map((dataType) => ({ name: dataType, dataType, shape: [2] })),
        nodes: types.map((dataType, i) => node("Cast", ["x"], [dataType], { to: onnxTypes[i]! })),
      }),
    );
    const { outputs } = await session.run({ feeds: [float32("x", [2], [1, 0])], fetch: types });
    expect(outputs.map(({ dataType }) => dataType)).toEqual(types);
    expect(outputs.map(({ data }) => Buffer.from(data).toString("hex"))).toEqual([
      "0000803f00000000",
      "003c0000",
      "803f0000",
      "01000000000000000000000000000000",
      "0100000000000000",
      "0100",
      "0100",
      "0100",
    ]);
  });

  test("leaves the event loop free", async () => {
    const session = await createSession(LONG);
    const x = float32("x", [1 << 20], new Float32Array(1 << 20));
    const lateMs: number[] = [];
    let due = performance.now() + 10;
    const timer = setInterval(() => {
      lateMs.push(performance.now() - due);
      due = performance.now() + 10;
    }, 10);
    const runs = await Promise.all([1, 2, 3].map(() => session.run({ feeds: [x], fetch: [] }))).finally(() =>
      clearInterval(timer),
    );
    const busyMs = runs.reduce((sum, { nanoseconds }) => sum + nanoseconds / 1e6, 0);
    expect(busyMs).toBeGreaterThan(100);
    expect(lateMs.length).toBeGreaterThan(busyMs / 40);
  });
});

describe("errors", () => {
  const product = () => createSession(PRODUCT, { weights: WEIGHTS });
  // x: [A]   z: [C]   y: [A], where A must be C
  const SUM = graph({
    inputs: [value("x", ["A"]), value("z", ["C"])],
    outputs: [value("y", ["A"])],
    nodes: [node("Add", ["x", "z"], ["y"])],
  });
  const failed = "Running the graph on rank 0 failed: ";
  const refused = "Creating the session on rank 0 failed: ";

  test("a node that fails is named", async () => {
    const session = await createSession(SUM);
    const feeds = [float32("x", [2], [1, 2]), float32("z", [3], [1, 2, 3])];
    const error = (await errorOf(() => session.run({ feeds, fetch: ["y"] }))) as ExecutionError;
    expect(error).toBeInstanceOf(ExecutionError);
    expect(error.message).toMatch(
      /^Running the graph on rank 0 failed: .*Add node\. Name:'y_node' .*broadcast an axis by a dimension other than 1\. 2 by 3$/,
    );
    const good = await session.run({ feeds: [feeds[0]!, float32("z", [2], [3, 4])], fetch: ["y"] });
    expect(numbersOf(good.outputs[0])).toEqual([4, 6]);
  });

  const cases: [string, () => Promise<unknown>, Error][] = [
    [
      "an unknown feed",
      async () => (await product()).run({ feeds: [X, int32("z", [], [1])], fetch: ["y"] }),
      new ExecutionError(`${failed}Failed to find input name in the mapping: z`),
    ],
    [
      "an unknown output",
      async () => (await product()).run({ feeds: [X], fetch: ["z"] }),
      new ExecutionError(`${failed}Invalid output name: z`),
    ],
    [
      "an output of a type that nobody here handles",
      async () => {
        const double = 11; // not in our part of the ONNX schema
        const cast = graph({ ...SUM, nodes: [node("Cast", ["x"], ["y"], { to: double })], weights: {} });
        const decoded = ModelProto.decode(encodeModel(cast));
        decoded.graph!.output[0]!.type!.tensorType!.elemType = double as OnnxDataType;
        const model = ModelProto.encode(decoded).finish();
        const session = await createSession(SUM, { model });
        const feeds = [float32("x", [1], [1]), float32("z", [1], [1])];
        await session.run({ feeds, fetch: ["y"] });
      },
      new ExecutionError("ONNX element type 11 is not supported here."),
    ],
    [
      "a feed of another type",
      async () => (await product()).run({ feeds: [int32("x", [1, 3], [1, 2, 3])], fetch: ["y"] }),
      new ExecutionError(`${failed}Unexpected input data type. Actual: (tensor(int32)) , expected: (tensor(float))`),
    ],
    [
      "a feed of another shape",
      async () => (await product()).run({ feeds: [float32("x", [1, 2], [1, 2])], fetch: ["y"] }),
      new ExecutionError(
        `${failed}Got invalid dimensions for input: x for the following indices\n index: 1 Got: 2 Expected: 3\n` +
          " Please fix either the inputs/outputs or the model.",
      ),
    ],
    [
      "a feed whose bytes are not its shape's",
      async () => (await product()).run({ feeds: [{ ...X, shape: [2, 3] }], fetch: ["y"] }),
      new UsageError('"x" [2, 3] float32 takes 24 bytes, received 12.'),
    ],
    [
      "a weight whose bytes are not its shape's",
      () => createSession(PRODUCT, { weights: [{ ...WEIGHTS[0]!, shape: [2, 4] }] }),
      new UsageError('"w" [2, 4] float32 takes 32 bytes, received 24.'),
    ],
    [
      "a weight of an unknown type",
      () => createSession(PRODUCT, { weights: [{ ...WEIGHTS[0]!, dataType: "int4" }] }),
      new UsageError(
        'Unknown element type "int4": expected one of float32, float16, bfloat16, int64, int32, int8, uint8, bool.',
      ),
    ],
    [
      "bytes that are no model",
      () => createSession(PRODUCT, { model: new Uint8Array([1, 2, 3]) }),
      new ExecutionError(`${refused}Failed to load model because protobuf parsing failed.`),
    ],
    [
      "no bytes",
      () => createSession(PRODUCT, { model: new Uint8Array(0) }),
      new ExecutionError(`${refused}Model data pointer is null.`),
    ],
    [
      "an unknown op",
      () => createSession(graph({ ...SUM, nodes: [node("Nope", ["x", "z"], ["y"])], weights: {} })),
      new ExecutionError(
        `${refused}This is an invalid model. In Node, ("y_node", Nope, "", -1) : ("x": tensor(float),"z": tensor(float),)` +
          ' -> ("y": tensor(float),) , Error No Op registered for Nope with domain_version of 21',
      ),
    ],
    [
      "something else than a communicator",
      () => createSession(PRODUCT, { communicator: {} as Communicator }),
      new UsageError("Expected a Communicator, as connect returns it."),
    ],
    [
      "a closed session, which may be closed twice",
      async () => {
        const session = await product();
        await session.close();
        await session.close();
        await session.run({ feeds: [X], fetch: ["y"] });
      },
      new UsageError("The session is closed: create another one."),
    ],
  ];
  test.each(cases)("%s", async (_, act, error) => {
    expect(await errorOf(act)).toEqual(error);
  });
});
