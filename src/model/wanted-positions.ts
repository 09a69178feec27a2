/**
 * What the last layer computes behind its attention concerns one position at a time, and of a prompt only the last one's logits are
 * wanted. So the wanted positions are gathered there, and not before the head. A pass over the whole graph: families build their layers all
 * alike, and every rank gathers at the same place.
 *
 *     attention -> o_proj -> .. -> norm -> Gather(positions)   ->   attention -> Gather(positions) -> o_proj -> .. -> norm
 */
import type { Graph, GraphNode } from "./graph.ts";

/** Ops whose outputs at a position follow from their inputs at that position: activations [B, S, ..], and constants. */
const POSITION_WISE: ReadonlySet<string> = new Set([
  ...["Add", "Mul", "Div", "Tanh", "Relu", "Gelu", "QuickGelu"],
  ...[
    "LayerNormalization",
    "SimplifiedLayerNormalization",
    "SkipLayerNormalization",
    "SkipSimplifiedLayerNormalization",
  ],
]);

/** The graph that gathers the wanted positions as early as nothing else is computed from the others. */
export function gatherWantedPositions(graph: Graph): Graph {
  const gather = graph.nodes.find(({ opType, inputs }) => opType === "Gather" && inputs[1] === "logits_positions");
  if (gather === undefined) return graph;
  const late = findOnlyBefore(gather, graph);
  if (late.size === 0) return graph;

  const [last, positions] = gather.inputs as [string, string];
  const [hidden] = gather.outputs as [string];
  const computed = new Set([...late].flatMap(({ outputs }) => outputs));
  const gathered = new Map<string, string>([[last, hidden]]);
  const nodes = graph.nodes.flatMap((node): GraphNode[] => {
    if (node === gather) return [];
    if (!late.has(node)) return [node];
    const gathers = [...new Set(node.inputs)]
      .filter((input) => input !== "" && !graph.weights.has(input) && !computed.has(input) && !gathered.has(input))
      .map((input) => ({
        ...gather,
        name: `${input}.wanted`,
        inputs: [input, positions],
        outputs: [`${input}.wanted`],
      }));
    for (const { name, inputs } of gathers) gathered.set(inputs[0]!, name);
    const renamed = (value: string): string => gathered.get(value) ?? value;
    return [...gathers, { ...node, inputs: node.inputs.map(renamed), outputs: node.outputs.map(renamed) }];
  });
  return { ...graph, nodes };
}

/** The position-wise nodes from which nothing is computed but what `end` reads. */
function findOnlyBefore(end: GraphNode, { nodes, outputs, weights }: Graph): Set<GraphNode> {
  const readers = new Map<string, GraphNode[]>();
  for (const node of nodes) {
    for (const input of node.inputs.filter((name) => name !== "")) {
      readers.set(input, [...(readers.get(input) ?? []), node]);
    }
  }
  const given = new Set(outputs.map(({ name }) => name));
  const found = new Set<GraphNode>();
  for (const node of nodes.slice(0, nodes.indexOf(end)).reverse()) {
    const isOnlyBefore = node.outputs.every(
      (value) => !given.has(value) && (readers.get(value) ?? []).every((reader) => reader === end || found.has(reader)),
    );
    if (isOnlyBefore && isPositionWise(node, weights)) found.add(node);
  }
  return found;
}

function isPositionWise({ opType, inputs, attributes: { axis } }: GraphNode, weights: Graph["weights"]): boolean {
  if (opType === "Split") return axis?.kind === "int" && axis.value === -1;
  if (opType === "MatMul" || opType === "FusedMatMul") return weights.has(inputs[1]!);
  return POSITION_WISE.has(opType);
}
