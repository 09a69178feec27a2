/**
 * THE TABLE: how each op is cut, and where it reduces. Everything else in this room serves it.
 *
 *     rule               inputs                              output            then
 *     product            x Replicate,   w Shard(out)      -> Shard(last)       -                 columnParallel
 *                        x Shard(last), w Shard(in)       -> Partial(sum)      allReduce         rowParallel
 *     quantizedProduct   as product with w [out, in], but rowParallel with 8 bits is three nodes, exact for any worldSize:
 *       RowOctaves       x Shard(last)                    -> Partial(sum)      allReduce of int32
 *       IntegerMatMul    x Shard(last), w Shard(in)       -> Partial(sum)      allReduce of int32
 *       Rescale          both made whole                  -> Replicate         -
 *     linear             all Partial                      -> Partial(sum)      -
 *                        else as elementwise
 *     elementwise        Shard(a), weights Shard(a)       -> Shard(a)          -
 *                        Partial                          -> Replicate         allReduce first
 *     normalization      Shard(a) before its axis         -> Shard(a)          -
 *     skipNormalization  Replicate                        -> Replicate         allReduce first
 *     groupQueryAttention, multiHeadAttention, rotaryEmbedding
 *                        q, k, v, past Shard(heads)       -> Shard(heads)      -
 *     reshape, transpose, split, concat, slice, gather
 *                        Shard(a)                         -> Shard(where a goes), Partial -> Partial
 *     gather of a weight table Replicate                  -> Replicate         -                 embedding
 *
 * What a rule cannot read as it lies is made whole first: allReduce of a Partial, allGather of a Shard. An op that is not
 * in the table reads everything whole. The last product into `logits` stays Shard(last): the head is vocabularyParallel.
 */
import type { Rule } from "./rule.ts";
import { groupQueryAttention, multiHeadAttention, rotaryEmbedding } from "./rules/attention.ts";
import { elementwise, linear } from "./rules/elementwise.ts";
import { concat, gather, reshape, slice, split, transpose } from "./rules/movement.ts";
import { normalization, skipNormalization } from "./rules/normalization.ts";
import { product } from "./rules/products.ts";
import { quantizedProduct } from "./rules/quantized-product.ts";

// prettier-ignore
export const TABLE: Readonly<Record<string, Rule>> = {
  MatMul: product,        FusedMatMul: product,     Gemm: product,           QuantizedMatMul: quantizedProduct,

  Add: linear,            Sub: linear,              Identity: linear,

  Mul: elementwise,       Div: elementwise,         Pow: elementwise,        Sqrt: elementwise,     Neg: elementwise,
  Cast: elementwise,      Clip: elementwise,        Exp: elementwise,        Erf: elementwise,      Where: elementwise,
  Relu: elementwise,      Sigmoid: elementwise,     Tanh: elementwise,       Gelu: elementwise,     FastGelu: elementwise,
  BiasGelu: elementwise,  QuickGelu: elementwise,

  LayerNormalization: normalization,                SimplifiedLayerNormalization: normalization,    Softmax: normalization,
  SkipLayerNormalization: skipNormalization,        SkipSimplifiedLayerNormalization: skipNormalization,

  GroupQueryAttention: groupQueryAttention,         MultiHeadAttention: multiHeadAttention,
  RotaryEmbedding: rotaryEmbedding,

  Reshape: reshape,       Transpose: transpose,     Split: split,            Concat: concat,        Slice: slice,
  Gather: gather,
};
