/**
 * The gates of feed-forward layers as one node: between two products a graph then reads and writes their values once. A pass over one
 * rank's graph, after the cut: families and rules know the plain ops only, and these are what --dump-graph shows.
 *
 *     Split(x, [F, F]) -> gate, up;  QuickGelu(gate);  Mul(.., up)   ->   GatedSilu(x)
 */
import { readIntegers } from "./constants.ts";
import type { Graph, GraphNode } from "./graph.ts";

/** The graph with SiLU gates in one node each; any other activation stays as it is. */
export function fuseGates(graph: Graph): Graph {
  const readers = new Map<string, GraphNode[]>();
  for (const node of graph.nodes) {
    for (const input of node.inputs) readers.set(input, [...(readers.get(input) ?? []), node]);
  }
  const outputs = new Set(graph.outputs.map(({ name }) => name));
  const onlyReader = (value: string | undefined): GraphNode | undefined => {
    const nodes = readers.get(value ?? "") ?? [];
    return nodes.length === 1 && !outputs.has(value ?? "") ? nodes[0] : undefined;
  };

  const gated = new Map<GraphNode, GraphNode>();
  const gone = new Set<GraphNode>();
  for (const split of graph.nodes.filter((node) => halves(node, graph))) {
    const [gate, up] = split.outputs;
    const silu = onlyReader(gate);
    const multiply = onlyReader(up);
    const opened = silu?.outputs[0];
    const isGate =
      silu !== undefined &&
      isSilu(silu) &&
      multiply?.opType === "Mul" &&
      onlyReader(opened) === multiply &&
      multiply.inputs.includes(opened!);
    if (!isGate) continue;
    gone.add(split).add(silu);
    gated.set(multiply, { ...multiply, opType: "GatedSilu", domain: "shardrun", inputs: [split.inputs[0]!] });
  }
  const nodes = graph.nodes.filter((node) => !gone.has(node)).map((node) => gated.get(node) ?? node);
  return { ...graph, nodes, weights: withoutUnread(graph, nodes) };
}

/** Whether the node takes its input apart into two halves along the last axis. */
function halves({ opType, inputs, outputs, attributes }: GraphNode, { weights }: Graph): boolean {
  const { axis } = attributes;
  if (opType !== "Split" || outputs.length !== 2 || axis?.kind !== "int" || axis.value !== -1) return false;
  const sizes = readIntegers(weights.get(inputs[1] ?? ""));
  return sizes?.length === 2 && sizes[0] === sizes[1];
}

/** x * sigmoid(alpha x) with alpha 1. */
function isSilu({ opType, attributes: { alpha } }: GraphNode): boolean {
  return opType === "QuickGelu" && alpha?.kind === "float" && alpha.value === 1;
}

function withoutUnread({ weights }: Graph, nodes: readonly GraphNode[]): Graph["weights"] {
  const read = new Set(nodes.flatMap(({ inputs }) => inputs));
  return new Map([...weights].filter(([name]) => read.has(name)));
}
