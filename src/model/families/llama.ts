/**
 * Llama 2 and 3: RMSNorm, rotary positions, grouped query attention, gated SiLU feed-forward.
 * Checkpoint matrices are [out, in].
 * @see https://arxiv.org/abs/2307.09288 (Llama 2), https://arxiv.org/abs/2407.21783 (Llama 3)
 */
import { ModelError } from "../../errors.ts";
import type { Checkpoint } from "../checkpoint.ts";
import { limitContext, type BuildOptions, type Family, type FamilyModel, type ModelSizes } from "../family.ts";
import { GraphBuilder } from "../graph-builder.ts";
import { layOutHeads, padHeads, type HeadLayout } from "../head-padding.ts";
import { computeRotaryTables, readRotaryFrequencies } from "../rotary.ts";
import type { Settings } from "../settings.ts";
import { findEmbeddings } from "../tied-embeddings.ts";

/** The Llama family. */
export const llama: Family = {
  modelType: "llama",
  architecture: "LlamaForCausalLM",
  ignorableTensors: /rotary_emb\.inv_freq$/,
  build,
};

interface Parts {
  readonly graph: GraphBuilder;
  readonly checkpoint: Checkpoint;
  readonly sizes: ModelSizes;
  readonly heads: HeadLayout;
  /** "model." unless the checkpoint was saved without it. */
  readonly prefix: string;
  readonly epsilon: number;
  readonly attentionBias: boolean;
  readonly mlpBias: boolean;
  readonly rotary: { readonly cos: string; readonly sin: string };
}

function build(config: Settings, checkpoint: Checkpoint, options: BuildOptions): FamilyModel {
  const { sizes, heads } = readSizes(config, options);
  const { vocabSize, hiddenSize, maxPositions } = sizes;
  const graph = new GraphBuilder("llama", checkpoint);
  const prefix = checkpoint.prefixOf("norm.weight", "model.");

  const tables = computeRotaryTables(readRotaryFrequencies(config, sizes.headDim), heads, maxPositions);
  const tableShape = [maxPositions, heads.paddedHeadDim / 2];
  const parts: Parts = {
    graph,
    checkpoint,
    sizes,
    heads,
    prefix,
    epsilon: config.positive("rms_norm_eps", 1e-6),
    attentionBias: config.boolean("attention_bias", false),
    mlpBias: config.boolean("mlp_bias", false),
    rotary: {
      cos: graph.constant("rotary.cos", tableShape, tables.cos),
      sin: graph.constant("rotary.sin", tableShape, tables.sin),
    },
  };

  const tableName = `${prefix}embed_tokens.weight`;
  const { table, head } = findEmbeddings(checkpoint, config, tableName, [vocabSize, hiddenSize], false);
  // residual: [B, S, D], the running sum; x: [B, S, D], its norm or what a layer adds to it
  let residual = graph.embed("embed_tokens", "input_ids", tableName, table);
  let x = graph.rmsNorm(
    "layers.0.input_layernorm",
    residual,
    graph.tensor(`${prefix}layers.0.input_layernorm.weight`, [hiddenSize]),
    parts.epsilon,
  );
  for (let layer = 0; layer < sizes.numHiddenLayers; layer++) {
    const attended = addSelfAttention(parts, layer, x);
    const afterAttention = addNorm(parts, `layers.${layer}.post_attention_layernorm`, attended, residual);
    const transformed = addMlp(parts, layer, afterAttention.norm);
    const nextNorm = layer + 1 < sizes.numHiddenLayers ? `layers.${layer + 1}.input_layernorm` : "norm";
    ({ norm: x, sum: residual } = addNorm(parts, nextNorm, transformed, afterAttention.sum));
  }
  graph.head(x, head);
  return { config: sizes, graph: graph.build(), cache: graph.cache };
}

function readSizes(config: Settings, options: BuildOptions): { sizes: ModelSizes; heads: HeadLayout } {
  config.choice("hidden_act", ["silu"], "silu");
  const hiddenSize = config.integer("hidden_size");
  const numAttentionHeads = config.integer("num_attention_heads");
  const numKeyValueHeads = config.integer("num_key_value_heads", numAttentionHeads);
  if (numAttentionHeads % numKeyValueHeads !== 0) {
    throw new ModelError(
      `"num_attention_heads" ${numAttentionHeads} in "${config.file}" must be a multiple of "num_key_value_heads" ${numKeyValueHeads}.`,
    );
  }
  if (!config.has("head_dim") && hiddenSize % numAttentionHeads !== 0) {
    throw new ModelError(
      `"hidden_size" ${hiddenSize} in "${config.file}" must be a multiple of "num_attention_heads" ${numAttentionHeads}, ` +
        `or "head_dim" must be given.`,
    );
  }
  const headDim = config.integer("head_dim", hiddenSize / numAttentionHeads);
  if (headDim % 2 !== 0) {
    throw new ModelError(`Heads of size ${headDim} in "${config.file}": rotary positions need an even size.`);
  }
  const heads = layOutHeads(headDim, true);
  const sizes = {
    vocabSize: config.integer("vocab_size"),
    hiddenSize,
    intermediateSize: config.integer("intermediate_size"),
    numHiddenLayers: config.integer("num_hidden_layers"),
    numAttentionHeads,
    numKeyValueHeads,
    headDim,
    paddedHeadDim: heads.paddedHeadDim,
    maxPositions: limitContext(config.integer("max_position_embeddings", 2048), options),
  };
  return { sizes, heads };
}

/** x: [B, S, D] -> qkv: [B, S, (N+2K)*H] -> attention: [B, S, N*H] -> [B, S, D] */
function addSelfAttention(parts: Parts, layer: number, x: string): string {
  const { graph, checkpoint, sizes, heads, prefix, attentionBias, rotary } = parts;
  const { hiddenSize, numAttentionHeads, numKeyValueHeads, headDim } = sizes;
  const name = `layers.${layer}`;
  const stored = `${prefix}${name}.self_attn`;
  const headsOf = { q_proj: numAttentionHeads, k_proj: numKeyValueHeads, v_proj: numKeyValueHeads };
  const numPackedHeads = numAttentionHeads + 2 * numKeyValueHeads;

  const pack = (kind: "weight" | "bias", columns: readonly number[]): string => {
    const tensors = Object.entries(headsOf).map(([projection, numHeads]) =>
      checkpoint.tensor(`${stored}.${projection}.${kind}`, [numHeads * headDim, ...columns]),
    );
    const packed = padHeads({ kind: "concat", axis: 0, parts: tensors }, 0, numPackedHeads, heads);
    return graph.weight(`${stored}.qkv_proj.${kind}`, [numPackedHeads * heads.paddedHeadDim, ...columns], packed);
  };
  const qkvBias = attentionBias ? pack("bias", []) : undefined;
  const qkv = graph.linear(`${name}.qkv_proj`, x, pack("weight", [hiddenSize]), qkvBias);

  const attended = graph.attention(`${name}.attention`, qkv, {
    layer,
    numHeads: numAttentionHeads,
    numKeyValueHeads,
    heads,
    scale: 1 / Math.sqrt(headDim),
    rotary,
  });

  const output = checkpoint.tensor(`${stored}.o_proj.weight`, [hiddenSize, numAttentionHeads * headDim]);
  const outputWeight = graph.weight(
    `${stored}.o_proj.weight`,
    [hiddenSize, numAttentionHeads * heads.paddedHeadDim],
    padHeads(output, 1, numAttentionHeads, heads),
  );
  const outputBias = attentionBias ? graph.tensor(`${stored}.o_proj.bias`, [hiddenSize]) : undefined;
  return graph.linear(`${name}.o_proj`, attended, outputWeight, outputBias);
}

/** x: [B, S, D] -> silu(gate) * up: [B, S, F] -> [B, S, D] */
function addMlp(parts: Parts, layer: number, x: string): string {
  const { graph, sizes, prefix, mlpBias } = parts;
  const { hiddenSize, intermediateSize } = sizes;
  const name = `layers.${layer}`;
  const linear = (projection: string, input: string, [outSize, inSize]: [number, number]): string => {
    const stored = `${prefix}${name}.mlp.${projection}`;
    const bias = mlpBias ? graph.tensor(`${stored}.bias`, [outSize]) : undefined;
    return graph.linear(`${name}.${projection}`, input, graph.tensor(`${stored}.weight`, [outSize, inSize]), bias);
  };
  const gate = graph.silu(`${name}.silu`, linear("gate_proj", x, [intermediateSize, hiddenSize]));
  const up = linear("up_proj", x, [intermediateSize, hiddenSize]);
  return linear("down_proj", graph.multiply(`${name}.gated`, gate, up), [hiddenSize, intermediateSize]);
}

function addNorm({ graph, sizes, prefix, epsilon }: Parts, name: string, x: string, residual: string) {
  return graph.addAndRmsNorm(name, x, residual, graph.tensor(`${prefix}${name}.weight`, [sizes.hiddenSize]), epsilon);
}
