/**
 * Runs graphs on numbers, all ranks in one process: each rank is a generator that stops at every collective, and the world
 * goes on when all have come to the same one. Proves a plan without any device.
 */
import type { Graph, GraphNode, WeightSource } from "../../src/model/graph.ts";
import { OPERATORS } from "./operators.ts";
import { quantize, QUANTIZED_OPERATORS } from "./quantized-operators.ts";
import { at, concatenate, countElements, describeShape, take, tensorOf, type Tensor } from "./tensor.ts";

export type Values = ReadonlyMap<string, Tensor>;

/** What a rank waits for. */
interface Meeting {
  readonly node: GraphNode;
  readonly input: Tensor;
}

/** The outputs of a graph without collectives. */
export function runGraph(graph: Graph, feeds: Values): Values {
  return runWorld([graph], [feeds])[0]!;
}

/** The outputs of every rank. Collectives must agree in op, label and order, and their token must be that of the last one. */
export function runWorld(graphs: readonly Graph[], feeds: readonly Values[]): Values[] {
  const ranks = graphs.map((graph, rank) => runRank(graph, feeds[rank]!));
  let steps = ranks.map((rank) => rank.next());
  for (;;) {
    if (steps.every((step) => step.done)) return steps.map((step) => step.value as Values);
    const meetings = steps.map((step, rank) => {
      if (step.done) throw new Error(`rank ${rank} has ended while others wait in a collective`);
      return step.value;
    });
    const results = meet(meetings);
    steps = ranks.map((rank, i) => rank.next(results[i]!));
  }
}

/** One collective among all ranks: each rank's result. */
function meet(meetings: readonly Meeting[]): Tensor[] {
  const [{ node }] = meetings as [Meeting];
  for (const [rank, other] of meetings.entries()) {
    const [mine, theirs] = [node, other.node].map(({ name, opType, attributes }) =>
      JSON.stringify({ name, opType, attributes }),
    );
    if (mine !== theirs) throw new Error(`rank 0 is in ${mine}, rank ${rank} in ${theirs}`);
  }
  const inputs = meetings.map(({ input }) => input);
  if (node.opType === "AllReduce") {
    for (const { shape } of inputs) {
      if (describeShape(shape) !== describeShape(inputs[0]!.shape))
        throw new Error(`${node.name} adds ${describeShape(inputs[0]!.shape)} and ${describeShape(shape)}`);
    }
    const { op } = node.attributes;
    if (op?.kind !== "string" || (op.value !== "sum" && op.value !== "max")) throw new Error(`${node.name} has no op`);
    const join = (a: number, b: number): number => (op.value === "sum" ? a + b : Math.max(a, b));
    const reduced = tensorOf(inputs[0]!.shape, (index) => inputs.map((input) => at(input, index)).reduce(join));
    return inputs.map(() => reduced);
  }
  const { axis, sizes } = node.attributes;
  if (axis?.kind !== "int" || sizes?.kind !== "ints") throw new Error(`${node.name} has no axis or sizes`);
  inputs.forEach(({ shape }, rank) => {
    if (shape[axis.value] !== sizes.value[rank])
      throw new Error(`${node.name}: rank ${rank} brings ${describeShape(shape)}`);
  });
  const gathered = concatenate(inputs, axis.value);
  return inputs.map(() => gathered);
}

function* runRank(graph: Graph, feeds: Values): Generator<Meeting, Values, Tensor> {
  const values = new Map<string, Tensor>();
  for (const weight of graph.weights.values()) {
    const { name, source, shape } = weight;
    const tensor = weight.packing === undefined ? evaluate(source) : quantize(evaluate(source), weight.packing);
    if (describeShape(tensor.shape) !== describeShape(shape))
      throw new Error(`weight "${name}" says ${describeShape(shape)} and has ${describeShape(tensor.shape)}`);
    values.set(name, tensor);
  }
  for (const { name } of graph.inputs) {
    const feed = feeds.get(name);
    if (feed === undefined) throw new Error(`graph input "${name}" is not fed`);
    values.set(name, feed);
  }
  let lastToken: string | undefined;
  for (const node of graph.nodes) {
    const inputs = node.inputs.map((name) => {
      if (name !== "" && !values.has(name)) throw new Error(`${node.name} reads "${name}", which does not exist`);
      return values.get(name);
    });
    if (node.opType !== "AllReduce" && node.opType !== "AllGather") {
      const operator = OPERATORS[node.opType] ?? QUANTIZED_OPERATORS[node.opType];
      if (operator === undefined) throw new Error(`the interpreter has no ${node.opType}`);
      const outputs = operator(inputs, node);
      node.outputs.forEach((name, i) => name !== "" && values.set(name, outputs[i]!));
      continue;
    }
    if (node.inputs[1] !== lastToken) throw new Error(`${node.name} takes token ${node.inputs[1]}, not ${lastToken}`);
    values.set(node.outputs[0]!, yield { node, input: inputs[0]! });
    lastToken = node.outputs[1];
    values.set(lastToken!, { shape: [1], data: new Float64Array(1) });
  }
  return new Map(graph.outputs.map(({ name }) => [name, values.get(name)!]));
}

/** A weight's numbers. */
export function evaluate(source: WeightSource): Tensor {
  switch (source.kind) {
    case "file":
    case "blocks":
      throw new Error("the interpreter reads no files");
    case "concat":
      return concatenate(source.parts.map(evaluate), source.axis);
    case "take": {
      const indices = source.runs.flatMap((run) =>
        Array.from({ length: run.end - run.begin }, (_, i) => run.begin + i),
      );
      return take(evaluate(source.of), source.axis, indices);
    }
    case "inline": {
      const { bytes, shape, dataType } = source;
      const buffer = bytes.slice().buffer;
      const data =
        dataType === "float32"
          ? Float64Array.from(new Float32Array(buffer))
          : Float64Array.from(new BigInt64Array(buffer), Number);
      if (data.length !== countElements(shape)) throw new Error(`${describeShape(shape)} of ${data.length} numbers`);
      return { shape, data };
    }
  }
}
