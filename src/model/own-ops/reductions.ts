/**
 * The two sums over ranks of a quantised product, each one node with its neighbour: what is small is exchanged without nodes of its
 * own. Rules know the parts (partition/rules/quantized-product.ts).
 *
 *     RowOctaves(x) -> AllReduce                 ->   AllReduceOctaves(x)
 *     AllReduce(sums) -> Rescale(.., octaves, w)  ->   AllReduceRescale(sums, octaves, w)
 */
import type { Graph, GraphNode } from "../graph.ts";
import { findOnlyReaders, replaceNodes } from "./readers.ts";

/** The graph with these pairs in one node each. On a rank that has no part of x it is zeros that are added up, and they stay. */
export function ownReductions(graph: Graph): Graph {
  const onlyReader = findOnlyReaders(graph);
  const replaced = new Map<GraphNode, GraphNode | undefined>();
  for (const node of graph.nodes) {
    const reader = onlyReader(node.outputs[0]);
    if (reader === undefined) continue;
    if (node.opType === "RowOctaves" && reader.opType === "AllReduce") {
      const [, ...token] = reader.inputs;
      const { label } = reader.attributes;
      replaced.set(node, undefined);
      replaced.set(reader, {
        ...reader,
        opType: "AllReduceOctaves",
        inputs: [...node.inputs, ...token],
        attributes: { label: label! },
      });
    }
    if (node.opType === "AllReduce" && reader.opType === "Rescale" && reader.inputs[0] === node.outputs[0]) {
      const [sums, ...token] = node.inputs;
      const [, ...tokenOut] = node.outputs;
      const { label } = node.attributes;
      replaced.set(reader, undefined);
      // Where the sum was: collectives keep their order.
      replaced.set(node, {
        ...reader,
        opType: "AllReduceRescale",
        inputs: [sums!, ...reader.inputs.slice(1), ...token],
        outputs: [...reader.outputs, ...tokenOut],
        attributes: { ...reader.attributes, label: label! },
      });
    }
  }
  return replaceNodes(graph, replaced);
}
