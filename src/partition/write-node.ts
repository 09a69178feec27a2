/** Nodes that partitioning itself adds to a graph; a file of its own because zeros and collectives both add some. */
import type { Attribute, GraphNode } from "../model/graph.ts";

/** A standard ONNX node with one output, which carries the node's name. */
export function node(
  opType: string,
  name: string,
  inputs: readonly string[],
  attributes: GraphNode["attributes"],
): GraphNode {
  return { name, opType, domain: "", inputs, outputs: [name], attributes };
}

/** An integer attribute. */
export function int(value: number): Attribute {
  return { kind: "int", value };
}
