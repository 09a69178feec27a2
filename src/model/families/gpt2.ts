/**
 * GPT-2: LayerNorm, learned positions, multi-head attention from one packed product, GELU feed-forward.
 * Checkpoint matrices are [in, out] (Conv1D). Every product has a bias.
 * @see Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", section 2.3
 */
import { ModelError } from "../../errors.ts";
import { ACTIVATIONS, addActivation } from "../activation.ts";
import type { Checkpoint } from "../checkpoint.ts";
import { limitContext, type BuildOptions, type Family, type FamilyModel, type ModelSizes } from "../family.ts";
import { GraphBuilder, type LayerNormWeights } from "../graph-builder.ts";
import type { Settings } from "../settings.ts";
import { findEmbeddings } from "../tied-embeddings.ts";

/** The GPT-2 family. */
export const gpt2: Family = {
  modelType: "gpt2",
  architecture: "GPT2LMHeadModel",
  // The causal mask, which older checkpoints store.
  ignorableTensors: /\.attn\.(masked_)?bias$/,
  build,
};

interface Parts {
  readonly config: Settings;
  readonly graph: GraphBuilder;
  readonly checkpoint: Checkpoint;
  readonly sizes: ModelSizes;
  /** "transformer." unless the checkpoint was saved without it. */
  readonly prefix: string;
  readonly epsilon: number;
}

function build(config: Settings, checkpoint: Checkpoint, options: BuildOptions): FamilyModel {
  if (config.boolean("add_cross_attention", false)) {
    config.refuse("add_cross_attention", "there is no encoder to attend to.");
  }
  const sizes = readSizes(config, options);
  const { vocabSize, hiddenSize } = sizes;
  const graph = new GraphBuilder("gpt2", checkpoint);
  const prefix = checkpoint.prefixOf("ln_f.weight", "transformer.");
  const epsilon = config.positive("layer_norm_epsilon", 1e-5);
  const parts: Parts = { config, graph, checkpoint, sizes, prefix, epsilon };

  const tableName = `${prefix}wte.weight`;
  const { table, head } = findEmbeddings(checkpoint, config, tableName, [vocabSize, hiddenSize], true);
  const positionsName = `${prefix}wpe.weight`;
  const positionsShape = [config.integer("n_positions", 1024), hiddenSize] as const;
  const positions = { shape: positionsShape, source: checkpoint.tensor(positionsName, positionsShape) };
  graph.input("position_ids", "int64", ["B", "S"]);
  const tokens = graph.embed("wte", "input_ids", tableName, table);
  const places = graph.embed("wpe", "position_ids", positionsName, positions);

  // sum: [B, S, D], the running sum; norm: [B, S, D], its norm
  let { norm, sum } = addNorm(parts, "h.0.ln_1", tokens, places);
  for (let layer = 0; layer < sizes.numHiddenLayers; layer++) {
    const attended = addSelfAttention(parts, layer, norm);
    const afterAttention = addNorm(parts, `h.${layer}.ln_2`, attended, sum);
    const transformed = addMlp(parts, layer, afterAttention.norm);
    const nextNorm = layer + 1 < sizes.numHiddenLayers ? `h.${layer + 1}.ln_1` : "ln_f";
    ({ norm, sum } = addNorm(parts, nextNorm, transformed, afterAttention.sum));
  }
  graph.head(norm, head);
  return { config: sizes, graph: graph.build(), cache: graph.cache };
}

function readSizes(config: Settings, options: BuildOptions): ModelSizes {
  const hiddenSize = config.integer("n_embd", 768);
  const numAttentionHeads = config.integer("n_head", 12);
  if (hiddenSize % numAttentionHeads !== 0) {
    throw new ModelError(
      `"n_embd" ${hiddenSize} in "${config.file}" must be a multiple of "n_head" ${numAttentionHeads}.`,
    );
  }
  return {
    vocabSize: config.integer("vocab_size", 50257),
    hiddenSize,
    intermediateSize: config.integer("n_inner", 4 * hiddenSize),
    numHiddenLayers: config.integer("n_layer", 12),
    numAttentionHeads,
    numKeyValueHeads: numAttentionHeads,
    headDim: hiddenSize / numAttentionHeads,
    maxPositions: limitContext(config.integer("n_positions", 1024), options),
  };
}

/** x: [B, S, D] -> qkv: [B, S, 3*N*H] -> attention: [B, S, N*H] -> [B, S, D] */
function addSelfAttention(parts: Parts, layer: number, x: string): string {
  const { config, graph, sizes, prefix } = parts;
  const { hiddenSize, numAttentionHeads, headDim } = sizes;
  const name = `h.${layer}`;
  const stored = `${prefix}${name}.attn`;
  const qkv = graph.conv1d(
    `${name}.c_attn`,
    x,
    graph.tensor(`${stored}.c_attn.weight`, [hiddenSize, 3 * hiddenSize]),
    graph.tensor(`${stored}.c_attn.bias`, [3 * hiddenSize]),
  );

  const headScale = config.boolean("scale_attn_weights", true) ? 1 / Math.sqrt(headDim) : 1;
  const layerScale = config.boolean("scale_attn_by_inverse_layer_idx", false) ? 1 / (layer + 1) : 1;
  const attended = graph.attention(`${name}.attention`, qkv, {
    layer,
    numHeads: numAttentionHeads,
    numKeyValueHeads: numAttentionHeads,
    headDim,
    scale: headScale * layerScale,
  });

  return graph.conv1d(
    `${name}.attn.c_proj`,
    attended,
    graph.tensor(`${stored}.c_proj.weight`, [hiddenSize, hiddenSize]),
    graph.tensor(`${stored}.c_proj.bias`, [hiddenSize]),
  );
}

/** x: [B, S, D] -> [B, S, F] -> [B, S, D] */
function addMlp({ config, graph, sizes, prefix }: Parts, layer: number, x: string): string {
  const { hiddenSize, intermediateSize } = sizes;
  const name = `h.${layer}.mlp`;
  const conv1d = (projection: string, input: string, sizes: [number, number]): string => {
    const stored = `${prefix}${name}.${projection}`;
    const matrix = graph.tensor(`${stored}.weight`, sizes);
    return graph.conv1d(`${name}.${projection}`, input, matrix, graph.tensor(`${stored}.bias`, [sizes[1]]));
  };
  const up = conv1d("c_fc", x, [hiddenSize, intermediateSize]);
  const activation = config.choice("activation_function", ACTIVATIONS, "gelu_new");
  const active = addActivation(graph, `${name}.activation`, activation, up);
  return conv1d("c_proj", active, [intermediateSize, hiddenSize]);
}

function addNorm({ graph, sizes, prefix, epsilon }: Parts, name: string, x: string, residual: string) {
  const norm: LayerNormWeights = {
    weight: graph.tensor(`${prefix}${name}.weight`, [sizes.hiddenSize]),
    bias: graph.tensor(`${prefix}${name}.bias`, [sizes.hiddenSize]),
  };
  return graph.addAndLayerNorm(name, x, residual, norm, epsilon);
}
