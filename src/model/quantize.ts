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
import { type Graph, type Packing, type Weight } from "./graph.ts";
import { allInputs, packProducts } from "./packed-products.ts";
import { divideOutputs, findStoredBlocks, STORED_BLOCK_SIZE } from "./stored-blocks.ts";
import { HEAD_NAME } from "./tied-embeddings.ts";

/** The graph whose products are computed as the options say. */
export function quantizeGraph(graph: Graph, { computeType, blockSize = DEFAULT_BLOCK_SIZE }: ComputeOptions): Graph {
  if (computeType !== "int8" && computeType !== "int4") return graph;
  return packProducts(graph, "QuantizedMatMul", (weight, isTransposed) => {
    // Of the head every logit is seen, and it is a small part of a large model: 4 bits would cost more than they save.
    const bits = computeType === "int8" || weight.name === HEAD_NAME ? 8 : 4;
    return describePacking(weight, bits, blockSize, isTransposed);
  });
}

function describePacking(weight: Weight, bits: 8 | 4, blockSize: number, isTransposed: boolean): Packing {
  const inputs = allInputs(weight, isTransposed);
  return bits === 8
    ? { bits, blockSize: 0, isTransposed, inputs }
    : { bits, blockSize, isTransposed, inputs, ...keepStored(weight, blockSize, isTransposed) };
}

/** What a file holds in such blocks is kept. */
function keepStored({ source }: Weight, blockSize: number, isTransposed: boolean): Partial<Packing> {
  if (isTransposed || blockSize !== STORED_BLOCK_SIZE) return {};
  const types = divideOutputs(source).map((part) => findStoredBlocks(part.source)?.blockType);
  const kept = types.filter((type) => type !== undefined);
  return kept.length === 0 ? {} : { keepsBlocks: true, hasMinima: kept.some((type) => type !== "Q4_0") };
}
