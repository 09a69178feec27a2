/** The sizes of a decoder from config.json, in the keys that the Llama line shares, checked against each other. */
import { ModelError } from "../../errors.ts";
import { limitContext, type BuildOptions, type ModelSizes } from "../family.ts";
import { readOriginalContext } from "../rotary.ts";
import type { Settings } from "../settings.ts";

/** Many times what any model has; what is larger would fill memory with position tables before a tensor could contradict it. */
const MAX_HEAD_DIM = 16_384;

/**
 * Reads the sizes.
 * @throws {ModelError} when they contradict each other, or no model can have them
 */
export function readDecoderSizes(config: Settings, options: BuildOptions): ModelSizes {
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
  if (headDim > MAX_HEAD_DIM) {
    throw new ModelError(`Heads of size ${headDim}: expected at most ${MAX_HEAD_DIM}. Check config.json.`);
  }
  const maxContext = options.maxContext ?? readOriginalContext(config);
  return {
    vocabSize: config.integer("vocab_size"),
    hiddenSize,
    intermediateSize: config.integer("intermediate_size"),
    numHiddenLayers: config.integer("num_hidden_layers"),
    numAttentionHeads,
    numKeyValueHeads,
    headDim,
    maxPositions: limitContext(config.integer("max_position_embeddings"), { maxContext }),
  };
}
