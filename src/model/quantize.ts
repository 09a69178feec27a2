/**
 * The graph for another compute type: every product with a constant matrix becomes a QuantizedMatMul with the packed matrix.
 * Norms, biases, embeddings and attention stay in float32. A pass of its own, after the families, so that no family knows of it
 * and partition/ cuts whatever it leaves.
 *
 *     float32   FusedMatMul(x, w [out, in]), MatMul(x, w [in, out])
 *     int8      QuantizedMatMul(x, w int8 [out, in], a scale per output)
 *     int4      QuantizedMatMul(x, w int4 [out, in], a scale per output and block of inputs); the head in int8
 */
import { DEFAULT_BLOCK_SIZE, type ComputeOptions } from "./compute-type.ts";
import { BLOCK_LAYOUTS, type Graph, type GraphNode, type Packing, type Weight } from "./graph.ts";
import { packedAttributes } from "./packed-layout.ts";
import { findStoredBlocks } from "./stored-blocks.ts";
import { HEAD_NAME } from "./tied-embeddings.ts";

/** The graph whose products are computed as the options say. */
export function quantizeGraph(graph: Graph, { computeType, blockSize = DEFAULT_BLOCK_SIZE }: ComputeOptions): Graph {
  if (computeType !== "int8" && computeType !== "int4") return graph;
  const weights = new Map(graph.weights);
  for (const [name, isTransposed] of findMatrices(graph)) {
    // Of the head every logit is seen, and it is a small part of a large model: 4 bits would cost more than they save.
    const bits = computeType === "int8" || name === HEAD_NAME ? 8 : 4;
    weights.set(name, pack(graph.weights.get(name)!, bits, blockSize, isTransposed));
  }
  const nodes = graph.nodes.map((node) => {
    const weight = weights.get(node.inputs[1] ?? "");
    return weight?.packing === undefined ? node : quantizeNode(node, weight);
  });
  return { ...graph, nodes, weights };
}

/** The matrices that are the second factor wherever they are used, and whether they are stored [in, out]. */
function findMatrices({ nodes, weights }: Graph): Map<string, boolean> {
  const matrices = new Map<string, boolean>();
  const others = new Set<string>();
  for (const node of nodes) {
    node.inputs.forEach((name, index) => {
      const weight = weights.get(name);
      if (weight === undefined) return;
      const isTransposed = index === 1 && weight.shape.length === 2 ? readsTransposed(node) : undefined;
      if (isTransposed === undefined || (matrices.get(name) ?? isTransposed) !== isTransposed) others.add(name);
      else matrices.set(name, isTransposed);
    });
  }
  for (const name of others) matrices.delete(name);
  return matrices;
}

/** Whether the node multiplies with a matrix stored [in, out]; undefined when it is no plain product. */
function readsTransposed({ opType, attributes }: GraphNode): boolean | undefined {
  const names = Object.keys(attributes);
  if (opType === "MatMul" && names.length === 0) return true;
  const { transB } = attributes;
  return opType === "FusedMatMul" && names.length === 1 && transB?.kind === "int" ? transB.value === 0 : undefined;
}

function pack(weight: Weight, bits: 8 | 4, blockSize: number, isTransposed: boolean): Weight {
  const [numOut, numIn] = (isTransposed ? weight.shape.toReversed() : weight.shape) as [number, number];
  const inputs = [{ begin: 0, end: numIn }];
  const packing: Packing =
    bits === 8
      ? { bits, blockSize: 0, isTransposed, inputs }
      : { bits, blockSize, isTransposed, inputs, ...keepStored(weight, blockSize, isTransposed) };
  return { ...weight, dataType: "uint8", shape: [numOut, numIn], packing };
}

/** What a file holds in such blocks is kept. */
function keepStored({ source }: Weight, blockSize: number, isTransposed: boolean): Pick<Packing, "stored"> {
  const blocks = isTransposed ? undefined : findStoredBlocks(source);
  return blocks === undefined || BLOCK_LAYOUTS[blocks.blockType].elements !== blockSize
    ? {}
    : { stored: blocks.blockType };
}

function quantizeNode(node: GraphNode, weight: Weight): GraphNode {
  return { ...node, opType: "QuantizedMatMul", domain: "shardrun", attributes: packedAttributes(weight) };
}
