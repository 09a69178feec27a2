/**
 * Products with constant matrices, given to kernels of our own: a graph goes in, one comes out in which they read packed matrices.
 * Which products those are is the same for every packing; model/quantize.ts asks for it before a graph is cut, execute/ for float32 after.
 */
import type { Graph, GraphNode, Packing, Weight } from "./graph.ts";
import { packedAttributes } from "./packed-layout.ts";

/**
 * Every plain product with a constant matrix becomes a node of this type.
 * @param describe how a matrix is packed, stored [in, out] if transposed, else [out, in]
 */
export function packProducts(
  graph: Graph,
  opType: "PackedMatMul" | "QuantizedMatMul",
  describe: (weight: Weight, isTransposed: boolean) => Packing,
): Graph {
  const packed = new Map<string, Weight>();
  for (const [name, isTransposed] of findMatrices(graph)) {
    const weight = graph.weights.get(name)!;
    const shape = isTransposed ? weight.shape.toReversed() : weight.shape;
    packed.set(name, { ...weight, dataType: "uint8", shape, packing: describe(weight, isTransposed) });
  }
  const nodes = graph.nodes.map((node): GraphNode => {
    const weight = packed.get(node.inputs[1] ?? "");
    return weight === undefined ? node : { ...node, opType, domain: "shardrun", attributes: packedAttributes(weight) };
  });
  return { ...graph, nodes, weights: new Map([...graph.weights, ...packed]) };
}

/** The whole of a matrix. */
export function allInputs({ shape }: Weight, isTransposed: boolean): Packing["inputs"] {
  return [{ begin: 0, end: shape[isTransposed ? 0 : 1]! }];
}

/** One rank's graph with float32 products that read their matrices as the cache maps them, where onnxruntime's would copy each. */
export function packFloatProducts(graph: Graph): Graph {
  return packProducts(graph, "PackedMatMul", (weight, isTransposed) => ({
    bits: 32,
    blockSize: 0,
    isTransposed,
    inputs: allInputs(weight, isTransposed),
  }));
}

/** The matrices that are the second factor wherever they are used, and whether they are stored [in, out]. */
function findMatrices({ nodes, weights }: Graph): Map<string, boolean> {
  const matrices = new Map<string, boolean>();
  const others = new Set<string>();
  for (const node of nodes) {
    node.inputs.forEach((name, index) => {
      const weight = weights.get(name);
      if (weight === undefined) return;
      const isMatrix = index === 1 && weight.shape.length === 2 && weight.shape.every((size) => size > 0);
      const isTransposed = isMatrix ? readsTransposed(node) : undefined;
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
