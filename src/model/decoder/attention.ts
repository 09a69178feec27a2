/**
 * Attention of the Llama line: q|k|v in one product, per-head norms if the family has them, grouped query attention with rotary
 * positions inside. Heads are padded to what the kernel takes.
 */
import type { RotaryTableNames } from "../graph-builder.ts";
import { padHeads } from "../head-padding.ts";
import { addProduct, normTensor, stackTensors, type DecoderParts } from "./parts.ts";

/** x: [B, S, D] -> qkv: [B, S, (N+2K)*H] -> attention: [B, S, N*H] -> [B, S, D] */
export function addSelfAttention(parts: DecoderParts, layer: number, x: string, rotary: RotaryTableNames): string {
  const { graph, design, sizes, heads } = parts;
  const name = `layers.${layer}`;
  const qkv = addQueryKeyValue(parts, name, x);
  const attended = graph.attention(
    `${name}.attention`,
    design.normalisesHeads ? splitAndNormalise(parts, name, qkv) : qkv,
    {
      layer,
      numHeads: sizes.numAttentionHeads,
      numKeyValueHeads: sizes.numKeyValueHeads,
      heads,
      scale: design.scoreScale * (design.normalisesHeads ? paddingShare(parts) : 1),
      scoreCap: design.scoreCap,
      window: design.window(layer),
      rotary,
    },
  );
  return addOutput(parts, name, attended);
}

function addQueryKeyValue(parts: DecoderParts, name: string, x: string): string {
  const { design, sizes, heads, prefix } = parts;
  const { hiddenSize, numAttentionHeads, numKeyValueHeads, headDim } = sizes;
  const numPackedHeads = numAttentionHeads + 2 * numKeyValueHeads;
  const module = `${prefix}${name}.self_attn`;
  const stacked = stackTensors(parts, module, "qkv_proj", {
    q_proj: numAttentionHeads * headDim,
    k_proj: numKeyValueHeads * headDim,
    v_proj: numKeyValueHeads * headDim,
  });
  return addProduct(parts, x, {
    name: `${name}.qkv_proj`,
    stored: `${module}.qkv_proj`,
    sizes: [numPackedHeads * heads.paddedHeadDim, hiddenSize],
    bias: design.biases.qkv,
    source: (kind, columns) => padHeads(stacked(kind, columns), 0, numPackedHeads, heads),
  });
}

function addOutput(parts: DecoderParts, name: string, attended: string): string {
  const { checkpoint, design, sizes, heads, prefix } = parts;
  const { hiddenSize, numAttentionHeads, headDim } = sizes;
  const stored = `${prefix}${name}.self_attn.o_proj`;
  return addProduct(parts, attended, {
    name: `${name}.o_proj`,
    stored,
    sizes: [hiddenSize, numAttentionHeads * heads.paddedHeadDim],
    bias: design.biases.output,
    source: (kind) =>
      kind === "bias"
        ? checkpoint.tensor(`${stored}.bias`, [hiddenSize])
        : padHeads(
            checkpoint.tensor(`${stored}.weight`, [hiddenSize, numAttentionHeads * headDim]),
            1,
            numAttentionHeads,
            heads,
          ),
  });
}

/**
 * q|k|v: [B, S, (N+2K)*H] -> q: [B, S, N*H], k, v: [B, S, K*H], each head of q and k normalised. The axis of heads is shown
 * before q, k and v part, while it is longer than 1 and can be told from an axis put in.
 */
function splitAndNormalise(parts: DecoderParts, name: string, qkv: string): [string, string, string] {
  const { graph, sizes, heads } = parts;
  const { numAttentionHeads, numKeyValueHeads } = sizes;
  const counts = [numAttentionHeads, numKeyValueHeads, numKeyValueHeads];
  const shape = [0, 0, numAttentionHeads + 2 * numKeyValueHeads, heads.paddedHeadDim];
  const apart = graph.reshape(`${name}.qkv_heads`, qkv, shape);
  const headsOf = ["q", "k", "v"].map((part) => `${name}.${part}_heads`);
  const [query, key, value] = graph.split(`${name}.split_qkv`, apart, counts, headsOf, 2);
  const normed = [
    normaliseHeads(parts, `${name}.self_attn.q_norm`, query!),
    normaliseHeads(parts, `${name}.self_attn.k_norm`, key!),
    value!,
  ];
  const [q, k, v] = ["q", "k", "v"].map((part, index) =>
    graph.reshape(`${name}.${part}`, normed[index]!, [0, 0, counts[index]! * heads.paddedHeadDim]),
  );
  return [q!, k!, v!];
}

/**
 * x: [B, S, heads, H] -> the same, each head divided by its root mean square. The zeros of a padded head make its mean square smaller
 * by the share s of what is not padding: with s * epsilon the result is larger by 1 / sqrt(s), in q and in k alike, which the
 * scale of the scores takes back.
 */
function normaliseHeads(parts: DecoderParts, name: string, x: string): string {
  const { graph, design, heads, prefix } = parts;
  const { headDim, paddedHeadDim } = heads;
  const source = padHeads(normTensor(parts, name, headDim), 0, 1, heads);
  const weight = graph.weight(`${prefix}${name}.weight`, [paddedHeadDim], source);
  return graph.rmsNorm(name, x, weight, design.epsilon * paddingShare(parts));
}

/** How much of a head in the graph is not padding. */
function paddingShare({ heads }: DecoderParts): number {
  return heads.headDim / heads.paddedHeadDim;
}
