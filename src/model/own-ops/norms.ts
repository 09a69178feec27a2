/**
 * RMS norms, which onnxruntime computes one number after the other.
 *
 *     SimplifiedLayerNormalization(x, weight)             ->   RmsNorm(x, weight)
 *     SkipSimplifiedLayerNormalization(x, skip, weight)   ->   AddRmsNorm(x, skip, weight)
 */
import type { Graph, GraphNode } from "../graph.ts";

/** The graph with its RMS norms over the last axis in our own ops. */
export function ownNorms(graph: Graph): Graph {
  return { ...graph, nodes: graph.nodes.map(ownNorm) };
}

function ownNorm(node: GraphNode): GraphNode {
  const { opType, inputs, outputs, attributes } = node;
  const { axis, epsilon } = attributes;
  if (epsilon === undefined) return node;
  const own = { ...node, domain: "shardrun", attributes: { epsilon } } as const;
  if (opType === "SimplifiedLayerNormalization" && axis?.kind === "int" && axis.value === -1 && outputs.length === 1) {
    return { ...own, opType: "RmsNorm" };
  }
  // Its outputs 1 and 2 exist for training only.
  const [y, mean, deviation, sum] = outputs;
  if (opType === "SkipSimplifiedLayerNormalization" && inputs.length === 3 && mean === "" && deviation === "") {
    return { ...own, opType: "AddRmsNorm", outputs: [y!, sum!] };
  }
  return node;
}
