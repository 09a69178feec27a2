/**
 * Products with a packed matrix. The scales of its weights are those of the whole matrix; what a cut of the inputs may change is
 * the rounding of the activations.
 *
 *     8 bits   one scale per row of x, which follows from how many of its values lie in each octave: the ranks add up these
 *              counts, then integer products, and scale the sum. Integer sums have no order, so the result has the same bits for
 *              every worldSize.
 *     4 bits   a scale per block of 32 inputs: cut between blocks every rank rounds as one would. Only the float sum is another.
 */
import { axisSize, blocks, type Cut } from "../cut.ts";
import type { PartialLayout } from "../plan.ts";
import { REPLICATE, intAttribute, type Flow, type Op, type Rule } from "../rule.ts";
import { productWithWeight } from "./products.ts";

const INTEGER_SUM: PartialLayout = { kind: "Partial", dataType: "int32" };

/** Of 4 bits: inputs whose activations share a scale, native/kernels/packed_weight.h's kRowBlock. */
const ROW_BLOCK = 32;

/** shardrun QuantizedMatMul: x [.., in], w packed [out, in]. */
export const quantizedProduct: Rule = (op) => {
  const flow = productWithWeight(op, [1, 0]);
  if (flow.closes === undefined) return flow;
  return intAttribute(op.node, "bits", 8) === 8 ? inIntegers(op, flow) : inBlocks(op, flow, flow.closes);
};

/** x Shard(last) -> octaves {sum}, sums {sum} -> y Replicate */
function inIntegers({ node }: Op, flow: Flow): Flow {
  const [x, w] = node.inputs as [string, string];
  const [y] = node.outputs as [string];
  const [xLayout, wLayout] = flow.reads as [Flow["reads"][number], Flow["reads"][number]];
  const [octaves, sums] = [`${y}/octaves`, `${y}/sums`];
  const domain = "shardrun";
  return {
    ...flow,
    becomes: [
      {
        node: { name: octaves, opType: "RowOctaves", domain, inputs: [x], outputs: [octaves], attributes: {} },
        flow: { reads: [xLayout], writes: [INTEGER_SUM] },
      },
      {
        node: { ...node, name: sums, opType: "IntegerMatMul", inputs: [x, octaves, w], outputs: [sums] },
        flow: { ...flow, reads: [xLayout, REPLICATE, wLayout], writes: [INTEGER_SUM] },
      },
      {
        node: { ...node, opType: "Rescale", inputs: [sums, octaves, w] },
        flow: { reads: [REPLICATE, REPLICATE, wLayout], writes: [REPLICATE], reason: "integers are scaled once" },
      },
    ],
  };
}

/**
 * Deals whole blocks of activations where the cut can be made of them: then each is rounded as one rank would. That some ranks get
 * a block more, or in a tiny model none, is felt only where time does not matter. Weights may share a scale over several such blocks.
 */
function inBlocks({ cuts }: Op, flow: Flow, cut: Cut): Flow {
  cuts.unify(cut, blocks(axisSize(cut), ROW_BLOCK));
  return { ...flow, closesStretch: true };
}
