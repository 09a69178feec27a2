/**
 * Attention of the Llama line: q|k|v in one product, per-head norms if the family has them, grouped query attention with rotary
 * positions inside.
 */
import type { RotaryTableNames } from "../graph-builder.ts";
import { addProduct, normTensor, stackTensors, type DecoderParts } from "./parts.ts";

/** x: [B, S, D] -> qkv: [B, S, (N+2K)*H] -> attention: [B, S, N*H] -> [B, S, D] */
export function addSelfAttention(parts: DecoderParts, layer: number, x: string, rotary: RotaryTableNames): string {
  const { graph, design, sizes } = parts;
  const name = `layers.${layer}`;
  const qkv = addQueryKeyValue(parts, name, x);
  const attended = graph.attention(
    `${name}.attention`,
    design.normalisesHeads ? splitAndNormalise(parts, name, qkv) : qkv,
    {
      layer,
      numHeads: sizes.numAttentionHeads,
      numKeyValueHeads: sizes.numKeyValueHeads,
      headDim: sizes.headDim,
      scale: design.scoreScale,
      scoreCap: design.scoreCap,
      window: design.window(layer),
      rotary,
    },
  );
  return addOutput(parts, name, attended);
}

function addQueryKeyValue(parts: DecoderParts, name: string, x: string): string {
  const { design, sizes, prefix } = parts;
  const { hiddenSize, numAttentionHeads, numKeyValueHeads, headDim } = sizes;
  const numPackedHeads = numAttentionHeads + 2 * numKeyValueHeads;
  const module = `${prefix}${name}.self_attn`;
  return addProduct(parts, x, {
    name: `${name}.qkv_proj`,
    stored: `${module}.qkv_proj`,
    sizes: [numPackedHeads * headDim, hiddenSize],
    bias: design.biases.qkv,
    source: stackTensors(parts, module, "qkv_proj", {
      q_proj: numAttentionHeads * headDim,
      k_proj: numKeyValueHeads * headDim,
      v_proj: numKeyValueHeads * headDim,
    }),
  });
}

function addOutput(parts: DecoderParts, name: string, attended: string): string {
  const { checkpoint, design, sizes, prefix } = parts;
  const { hiddenSize, numAttentionHeads, headDim } = sizes;
  const matrix = [hiddenSize, numAttentionHeads * headDim] as const;
  const stored = `${prefix}${name}.self_attn.o_proj`;
  return addProduct(parts, attended, {
    name: `${name}.o_proj`,
    stored,
    sizes: matrix,
    bias: design.biases.output,
    source: (kind) => checkpoint.tensor(`${stored}.${kind}`, kind === "bias" ? [hiddenSize] : matrix),
  });
}

/**
 * q|k|v: [B, S, (N+2K)*H] -> q: [B, S, N*H], k, v: [B, S, K*H], each head of q and k normalised. The axis of heads is shown
 * before q, k and v part, while it is longer than 1 and can be told from an axis put in.
 */
function splitAndNormalise(parts: DecoderParts, name: string, qkv: string): [string, string, string] {
  const { graph, sizes } = parts;
  const { numAttentionHeads, numKeyValueHeads, headDim } = sizes;
  const counts = [numAttentionHeads, numKeyValueHeads, numKeyValueHeads];
  const shape = [0, 0, numAttentionHeads + 2 * numKeyValueHeads, headDim];
  const apart = graph.reshape(`${name}.qkv_heads`, qkv, shape);
  const headsOf = ["q", "k", "v"].map((part) => `${name}.${part}_heads`);
  const [query, key, value] = graph.split(`${name}.split_qkv`, apart, counts, headsOf, 2);
  const normed = [
    normaliseHeads(parts, `${name}.self_attn.q_norm`, query!),
    normaliseHeads(parts, `${name}.self_attn.k_norm`, key!),
    value!,
  ];
  const [q, k, v] = ["q", "k", "v"].map((part, index) =>
    graph.reshape(`${name}.${part}`, normed[index]!, [0, 0, counts[index]! * headDim]),
  );
  return [q!, k!, v!];
}

/** x: [B, S, heads, H] -> the same, each head divided by its root mean square. */
function normaliseHeads(parts: DecoderParts, name: string, x: string): string {
  const { graph, design, sizes, prefix } = parts;
  const weight = graph.weight(`${prefix}${name}.weight`, [sizes.headDim], normTensor(parts, name, sizes.headDim));
  return graph.rmsNorm(name, x, weight, design.epsilon);
}
