/**
 * Gemm(x, w, bias) as Gemm(x, w) + bias. A row-parallel product is a Partial, and its bias must be added once, after the
 * allReduce; with the bias in a node of its own that needs no rule.
 */
import type { Graph, GraphNode } from "../model/graph.ts";

/** The graph with every bias of a Gemm in an Add of its own. */
export function separateBias(graph: Graph): Graph {
  return { ...graph, nodes: graph.nodes.flatMap(separate) };
}

function separate(node: GraphNode): GraphNode[] {
  const [x, w, bias] = node.inputs;
  const beta = node.attributes.beta;
  const addsOnce = beta === undefined || (beta.kind === "float" && beta.value === 1);
  if (node.opType !== "Gemm" || !bias || x === undefined || w === undefined || !addsOnce) return [node];
  const [output] = node.outputs;
  const product = `${output}/product`;
  return [
    { ...node, inputs: [x, w], outputs: [product] },
    {
      name: `${node.name}/bias`,
      opType: "Add",
      domain: "",
      inputs: [product, bias],
      outputs: [output!],
      attributes: {},
    },
  ];
}
