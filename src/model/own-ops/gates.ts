/**
 * The gates of feed-forward layers as one node: between two products a graph then reads and writes their values once.
 *
 *     Split(x, [F, F]) -> gate, up;  QuickGelu(gate);  Mul(.., up)   ->   GatedSilu(x)
 */
import { readIntegers } from "../constants.ts";
import type { Graph, GraphNode } from "../graph.ts";
import { findOnlyReaders, replaceNodes } from "./readers.ts";

/** The graph with SiLU gates in one node each; any other activation stays as it is. */
export function ownGates(graph: Graph): Graph {
  const onlyReader = findOnlyReaders(graph);
  const replaced = new Map<GraphNode, GraphNode | undefined>();
  for (const split of graph.nodes.filter((node) => halves(node, graph))) {
    const [gate, up] = split.outputs;
    const silu = onlyReader(gate);
    const multiply = onlyReader(up);
    if (silu === undefined || !isSilu(silu)) continue;
    if (multiply?.opType !== "Mul" || onlyReader(silu.outputs[0]) !== multiply) continue;
    replaced.set(split, undefined).set(silu, undefined);
    replaced.set(multiply, { ...multiply, opType: "GatedSilu", domain: "shardrun", inputs: [split.inputs[0]!] });
  }
  return replaceNodes(graph, replaced);
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
