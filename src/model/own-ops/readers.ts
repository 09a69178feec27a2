/** Who reads a value of a graph: what passes that make one node of several have to know. */
import type { Graph, GraphNode } from "../graph.ts";

/** Finds the node that alone reads a value; undefined when there are several, or the graph gives it out. */
export function findOnlyReaders({ nodes, outputs }: Graph): (value: string | undefined) => GraphNode | undefined {
  const readers = new Map<string, GraphNode | undefined>();
  for (const node of nodes) {
    for (const input of node.inputs) readers.set(input, readers.has(input) ? undefined : node);
  }
  for (const { name } of outputs) readers.set(name, undefined);
  return (value) => (value === undefined ? undefined : readers.get(value));
}

/** The graph with some nodes replaced or, for undefined, left out, and without the weights that nobody reads any longer. */
export function replaceNodes(graph: Graph, replaced: ReadonlyMap<GraphNode, GraphNode | undefined>): Graph {
  if (replaced.size === 0) return graph;
  const nodes = graph.nodes.flatMap((node) => (replaced.has(node) ? (replaced.get(node) ?? []) : node));
  const read = new Set(nodes.flatMap(({ inputs }) => inputs));
  return { ...graph, nodes, weights: new Map([...graph.weights].filter(([name]) => read.has(name))) };
}
