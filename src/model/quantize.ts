/**
 * The graph for another compute type: every product with a constant matrix becomes a QuantizedMatMul with the packed matrix.
 * Norms, biases, embeddings and attention stay in float32. A pass of its own, after the families, so that no family knows of it
 * and partition/ cuts whatever it leaves.
 *
 *     float32   FusedMatMul(x, w [out, in]), MatMul(x, w [in, out])
 *     int8      QuantizedMatMul(x, w int8 [out, in], a scale per output)
 *     int4      QuantizedMatMul(x, w int4 [out, in], a scale per output and block of inputs); in int8 the head, and whatever a file
 *               of 4 bits holds in more
 */
import { DEFAULT_BLOCK_SIZE, type ComputeOptions } from "./compute-type.ts";
import { type Graph, type Packing, type Weight } from "./graph.ts";
import { allInputs, packProducts } from "./packed-products.ts";
import { divideOutputs, findStoredBlocks, STORED_BLOCK_SIZE, type StoredBlockType } from "./stored-blocks.ts";
import { HEAD_NAME } from "./tied-embeddings.ts";

/** The graph whose products are computed as the options say. */
export function quantizeGraph(graph: Graph, { computeType, blockSize }: ComputeOptions): Graph {
  if (computeType !== "int8" && computeType !== "int4") return graph;
  const keepsMore = blockSize === undefined && isOfFourBits(graph);
  return packProducts(graph, "QuantizedMatMul", (weight, isTransposed) => {
    const inputs = allInputs(weight, isTransposed);
    // Of the head every logit is seen, and it is a small part of a large model: 4 bits would cost more than they save.
    const bits = computeType === "int8" || weight.name === HEAD_NAME || (keepsMore && hasMoreBits(weight)) ? 8 : 4;
    if (bits === 8) return { bits, blockSize: 0, isTransposed, inputs };
    const size = blockSize ?? DEFAULT_BLOCK_SIZE;
    return { bits, blockSize: size, isTransposed, inputs, ...keepStored(weight, size, isTransposed) };
  });
}

/** Whether the model comes from a file of 4 bits: then whoever made it left in more what loses too much in 4. */
function isOfFourBits({ weights }: Graph): boolean {
  return [...weights.values()].some(({ source }) => typesOfParts(source).some((type) => type !== undefined));
}

/** Whether a file of 4 bits holds the matrix, or a part of it, in more. Of q|k|v it is often v: 8 bits for all three cost little. */
function hasMoreBits({ source }: Weight): boolean {
  return typesOfParts(source).includes(undefined);
}

/** Per part of a matrix the type of its blocks of 4 bits, or undefined. */
function typesOfParts(source: Weight["source"]): (StoredBlockType | undefined)[] {
  return divideOutputs(source).map((part) => findStoredBlocks(part.source)?.blockType);
}

/** What a file holds in such blocks is kept. */
function keepStored({ source }: Weight, blockSize: number, isTransposed: boolean): Partial<Packing> {
  if (isTransposed || blockSize !== STORED_BLOCK_SIZE) return {};
  const kept = typesOfParts(source).filter((type) => type !== undefined);
  return kept.length === 0 ? {} : { keepsBlocks: true, hasMinima: kept.some((type) => type !== "Q4_0") };
}
