/**
 * Products with a packed matrix. The scales of its weights are those of the whole matrix; what a cut of the inputs may change is
 * the rounding of the activations.
 *
 * The ranks add up how many of a row's values lie in each octave, from which the unit of the row's sums follows, then integer sums in
 * that unit, and scale the result. Integer sums have no order, so the result has the same bits for every worldSize.
 *
 *     8 bits   activations are rounded to the row's unit: any cut will do
 *     4 bits   activations have a scale per block of 32 inputs, so the cut goes between blocks where it can; only where it goes through
 *              a block (heads of 24 or 80) the last bits may be others
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
  const inWholeBlocks = intAttribute(op.node, "bits", 8) === 8 ? flow : inBlocks(op, flow, flow.closes);
  return inIntegers(op, inWholeBlocks);
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
