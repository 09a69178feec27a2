/**
 * The road of a token through a decoder of the Llama line, from its id to the logits, as its DecoderDesign says. A family file
 * is a call of decoderFamily: its names, transformers' defaults, and its design.
 */
import type { Family, FamilyModel, ModelSizes } from "../family.ts";
import { GraphBuilder, type NormAndSum, type RotaryTableNames } from "../graph-builder.ts";
import { computeRotaryTables } from "../rotary.ts";
import type { Settings } from "../settings.ts";
import { findEmbeddings } from "../tied-embeddings.ts";
import { addSelfAttention } from "./attention.ts";
import type { DecoderDesign, RotaryDesign } from "./design.ts";
import { addFeedForward } from "./feed-forward.ts";
import { normTensor, type DecoderParts } from "./parts.ts";
import { readDecoderSizes } from "./sizes.ts";

/** What a family file says. */
export interface DecoderFamily {
  /** "model_type" in config.json. */
  readonly modelType: string;
  /** The entry of "architectures" that this family builds. */
  readonly architecture: string;
  /** What transformers takes for keys that config.json does not have, where the family has a value of its own. */
  readonly defaults: Readonly<Record<string, unknown>>;
  /** @throws {ModelError} when config.json asks for what is not supported */
  readonly design: (config: Settings, sizes: ModelSizes) => DecoderDesign;
}

/** A family of the Llama line. */
export function decoderFamily({ modelType, architecture, defaults, design }: DecoderFamily): Family {
  return {
    modelType,
    architecture,
    ignorableTensors: /rotary_emb\.inv_freq$/,
    build: (settings, checkpoint, options) => {
      const config = settings.withDefaults(defaults);
      const sizes = readDecoderSizes(config, options);
      return build(config, {
        graph: new GraphBuilder(modelType, checkpoint),
        checkpoint,
        design: design(config, sizes),
        sizes,
        prefix: checkpoint.prefixOf("norm.weight", "model."),
      });
    },
  };
}

function build(config: Settings, parts: DecoderParts): FamilyModel {
  const { graph, checkpoint, design, sizes, prefix } = parts;
  const { norms, embeddingScale, tiedByDefault } = design;
  const rotaryTables = makeRotaryTables(parts);

  const tableName = `${prefix}embed_tokens.weight`;
  const shape = [sizes.vocabSize, sizes.hiddenSize] as const;
  const { table, head } = findEmbeddings(checkpoint, config, tableName, shape, tiedByDefault);
  // residual: [B, S, D], the running sum; x: [B, S, D], its norm or what a layer adds to it
  let residual = graph.embed("embed_tokens", "input_ids", tableName, table);
  if (embeddingScale !== 1) {
    residual = graph.multiply("embed_tokens.scaled", residual, graph.scalar("embedding_scale", embeddingScale));
  }
  let x = addNorm(parts, `layers.0.${norms.beforeAttention}`, residual);
  for (let layer = 0; layer < sizes.numHiddenLayers; layer++) {
    const name = `layers.${layer}`;
    const attended = addSelfAttention(parts, layer, x, rotaryTables(design.rotary(layer)));
    const attention = norms.afterAttention ? addNorm(parts, `${name}.${norms.afterAttention}`, attended) : attended;
    const afterAttention = addSumAndNorm(parts, `${name}.${norms.beforeFeedForward}`, attention, residual);
    const fed = addFeedForward(parts, layer, afterAttention.norm);
    const transformed = norms.afterFeedForward ? addNorm(parts, `${name}.${norms.afterFeedForward}`, fed) : fed;
    const nextNorm = layer + 1 < sizes.numHiddenLayers ? `layers.${layer + 1}.${norms.beforeAttention}` : "norm";
    ({ norm: x, sum: residual } = addSumAndNorm(parts, nextNorm, transformed, afterAttention.sum));
  }
  graph.head(x, head, design.logitCap);
  return { config: sizes, graph: graph.build(), cache: graph.cache };
}

function addNorm(parts: DecoderParts, name: string, x: string): string {
  const { graph, design } = parts;
  const { weight, bias } = addNormWeights(parts, name);
  return bias === undefined
    ? graph.rmsNorm(name, x, weight, design.epsilon)
    : graph.layerNorm(name, x, { weight, bias }, design.epsilon);
}

/** The sum of x and residual, and its norm. */
function addSumAndNorm(parts: DecoderParts, name: string, x: string, residual: string): NormAndSum {
  const { graph, design } = parts;
  const { weight, bias } = addNormWeights(parts, name);
  return bias === undefined
    ? graph.addAndRmsNorm(name, x, residual, weight, design.epsilon)
    : graph.addAndLayerNorm(name, x, residual, { weight, bias }, design.epsilon);
}

function addNormWeights(parts: DecoderParts, name: string): { weight: string; bias: string | undefined } {
  const { graph, design, sizes, prefix } = parts;
  const size = sizes.hiddenSize;
  const weight = graph.weight(`${prefix}${name}.weight`, [size], normTensor(parts, name, size));
  return { weight, bias: design.normKind === "layer" ? graph.tensor(`${prefix}${name}.bias`, [size]) : undefined };
}

/** Each pair of tables is made once, for whichever layer comes first. */
function makeRotaryTables({ graph, sizes }: DecoderParts): (rotary: RotaryDesign) => RotaryTableNames {
  const made = new Map<string, RotaryTableNames>();
  return ({ name, ...rotation }) => {
    const known = made.get(name);
    if (known !== undefined) return known;
    const tables = computeRotaryTables(rotation, sizes.maxPositions);
    const shape = [sizes.maxPositions, rotation.frequencies.length];
    const names = {
      cos: graph.constant(`${name}.cos`, shape, tables.cos),
      sin: graph.constant(`${name}.sin`, shape, tables.sin),
    };
    made.set(name, names);
    return names;
  };
}
