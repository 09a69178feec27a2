/** Small graphs and sessions for the tests of the native addon: nodes written in one line each, values as plain numbers. */
import {
  native,
  type Communicator,
  type Feed,
  type FetchedValue,
  type SessionWeight,
} from "../../src/collective/native.ts";
import { findRuntimeLibrary } from "../../src/collective/runtime-library.ts";
import type { Attribute, Graph, GraphNode, GraphValue, Weight } from "../../src/model/graph.ts";

/** A node; attributes are plain values, and a name is made up. */
export function node(
  opType: string,
  inputs: readonly string[],
  outputs: readonly string[],
  attributes: Readonly<Record<string, number | readonly number[] | string>> = {},
  domain: GraphNode["domain"] = "",
): GraphNode {
  const entries = Object.entries(attributes).map(([key, value]): [string, Attribute] => {
    if (typeof value === "string") return [key, { kind: "string", value }];
    if (typeof value !== "number") return [key, { kind: "ints", value }];
    return [key, Number.isInteger(value) ? { kind: "int", value } : { kind: "float", value }];
  });
  return { name: `${outputs[0]}_node`, opType, domain, inputs, outputs, attributes: Object.fromEntries(entries) };
}

/** A graph whose weights are handed over by name, all float32. */
export function graph(options: {
  readonly inputs: readonly GraphValue[];
  readonly outputs: readonly GraphValue[];
  readonly nodes: readonly GraphNode[];
  readonly weights?: Readonly<Record<string, readonly number[]>>;
}): Graph {
  const weights = Object.entries(options.weights ?? {}).map(([name, shape]): [string, Weight] => [
    name,
    { name, dataType: "float32", shape, source: { kind: "file", file: "", offset: 0, dataType: "float32", shape } },
  ]);
  return {
    name: "tiny",
    inputs: options.inputs,
    outputs: options.outputs,
    nodes: options.nodes,
    weights: new Map(weights),
  };
}

/** A float32 input or output of a graph. */
export function value(name: string, shape: GraphValue["shape"]): GraphValue {
  return { name, dataType: "float32", shape };
}

/** float32 numbers as a feed, or as a weight handed over. */
export function float32(name: string, shape: readonly number[], numbers: ArrayLike<number>): Feed & SessionWeight {
  return { name, dataType: "float32", shape, data: new Uint8Array(Float32Array.from(numbers).buffer) };
}

/** int32 numbers as a feed. */
export function int32(name: string, shape: readonly number[], numbers: ArrayLike<number>): Feed {
  return { name, dataType: "int32", shape, data: new Uint8Array(Int32Array.from(numbers).buffer) };
}

/** The numbers of a fetched float32 output. */
export function numbersOf(output: FetchedValue | undefined): number[] {
  if (output?.dataType !== "float32") throw new Error(`expected float32, received ${output?.dataType}`);
  return [...new Float32Array(output.data.buffer, output.data.byteOffset, output.data.byteLength / 4)];
}

/** Opens the package's onnxruntime; a second time does nothing. */
export function openRuntime(): string {
  return native().openRuntime(findRuntimeLibrary());
}

let lastCommunicatorId = 0;

/** A world of one rank. */
export async function connectAlone(): Promise<Communicator> {
  const [communicator] = await connectWorld(1);
  return communicator!;
}

/** All ranks of a world in this process, each with a thread of its own. */
export async function connectWorld(worldSize: number, timeoutMs = 10_000): Promise<Communicator[]> {
  const id = ++lastCommunicatorId;
  const ranks = Array.from({ length: worldSize }, (_, rank) => rank);
  const listeners = ranks.map((rank) =>
    native().listen({ runId: `test-${process.pid}-${id}`, rank, tcpHost: "127.0.0.1", secret: new Uint8Array(32) }),
  );
  const peers = listeners.map(({ address }, rank) => ({ rank, host: "localhost", address }));
  const communicators = await Promise.all(
    ranks.map((rank) =>
      native().connect(listeners[rank], { id, epoch: 0, rank, worldSize, peers, transport: "auto", timeoutMs }),
    ),
  );
  for (const listener of listeners) listener.close();
  return communicators;
}

/** What an action throws or rejects with. */
export async function errorOf(action: () => unknown): Promise<unknown> {
  try {
    await action();
  } catch (error) {
    return error;
  }
  throw new Error("expected an error, there was none");
}
