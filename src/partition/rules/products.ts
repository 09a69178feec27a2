/**
 * Products, where cuts begin and end.
 *
 *     columnParallel   x Replicate   @  w Shard(out)  ->  y Shard(last)   no collective
 *     rowParallel      x Shard(last) @  w Shard(in)   ->  y Partial(sum)  allReduce before whatever is not linear
 *
 * A weight is [in, out], or [out, in] with transB = 1: then the two axes change places.
 */
import { units } from "../cut.ts";
import {
  PARTIAL,
  REPLICATE,
  alignWith,
  carry,
  findCut,
  intAttribute,
  shard,
  whole,
  wrongGraph,
  type Flow,
  type Rule,
  type Op,
} from "../rule.ts";

/** MatMul, FusedMatMul, Gemm (whose bias separate-bias.ts has made an Add). */
export const product: Rule = (op) => {
  const [x, w] = op.inputs;
  const isTurned = ["transA", "transBatchA", "transBatchB"].some((name) => intAttribute(op.node, name, 0) === 1);
  if (isTurned) return whole(op, "its axes are turned");
  if (op.inputs.length > 2) return whole(op, "its bias is scaled");
  if (x?.shape === undefined || w?.shape === undefined) return whole(op, "the shape of an input is not known");
  if (!w.free || w.shape.length !== 2) return productOfActivations(op);
  return productWithWeight(op, intAttribute(op.node, "transB", 0) === 1 ? [1, 0] : [0, 1]);
};

/** The product of activations and a matrix whose axes of inputs and outputs are these. */
export function productWithWeight(op: Op, [inAxis, outAxis]: readonly [number, number]): Flow {
  const [x, w] = op.inputs;
  if (x?.shape === undefined || w?.shape === undefined) return whole(op, "the shape of an input is not known");
  const last = x.shape.length - 1;
  const numIn = w.shape[inAxis];
  const numOut = w.shape[outAxis];
  if (typeof x.shape[last] === "number" && x.shape[last] !== numIn) {
    throw wrongGraph(op, `${x.shape[last]} features meet ${numIn}`, "Check the weight's layout and transB.");
  }

  if (x.layout.kind === "Shard" && x.layout.axis === last) {
    const { cut } = x.layout;
    return { reads: [x.layout, shard(inAxis, cut)], writes: [PARTIAL], closes: cut };
  }
  if (x.layout.kind === "Shard") return carry(op, x.layout);
  if (op.refusal !== undefined || typeof numOut !== "number") return whole(op, op.refusal ?? "its size varies");
  const cut = units(numOut);
  return { reads: [REPLICATE, shard(outAxis, cut)], writes: [shard(last, cut)], opens: cut };
}

/** Attention written out: scores and weighted values, [B, N, S, H] @ [B, N, H, T], one product per head. */
function productOfActivations(op: Op): Flow {
  const found = findCut(op);
  if (found === undefined) return whole(op, "neither factor is a weight");
  const fromTheRight = found.axis - found.ndim;
  if (fromTheRight >= -2) return whole(op, "a product of two activations is cut along its batch axes only");
  const reads = op.inputs.map(({ shape }, i) => alignWith(op, i, fromTheRight + (shape?.length ?? 0), found.cut));
  if (!reads.every((layout) => layout !== undefined)) return whole(op, "its factors are not cut alike");
  const ndim = Math.max(...op.inputs.map(({ shape }) => shape?.length ?? 0));
  return { reads, writes: [shard(fromTheRight + ndim, found.cut)] };
}
