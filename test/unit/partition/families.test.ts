/** The graphs of the real families: whole and cut they compute the same, with the weights that shards/ makes of each plan. */
import { closeSync, openSync, readSync } from "node:fs";
import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "@jest/globals";
import type { Graph, Weight } from "../../../src/model/graph.ts";
import { loadModel } from "../../../src/model/model.ts";
import { partition } from "../../../src/partition/partition.ts";
import { shardGraph } from "../../../src/partition/shard-graph.ts";
import { materialiseWeight } from "../../../src/shards/weight.ts";
import { compareGraphs } from "../../support/sharded-parity.ts";
import { useTemporaryDirectory } from "../../support/temporary-directory.ts";
import { TINY_GPT2, TINY_LLAMA, writeCheckpoint, type CheckpointOptions } from "../../support/write-checkpoint.ts";

const root = useTemporaryDirectory();

async function build(options: CheckpointOptions): Promise<Graph> {
  const directory = mkdtempSync(join(root, "model-"));
  writeCheckpoint(directory, options);
  return (await loadModel(directory)).graph;
}

function readRange(path: string, offset: number, numBytes: number): Uint8Array {
  const bytes = new Uint8Array(numBytes);
  const file = openSync(path, "r");
  readSync(file, bytes, 0, numBytes, offset);
  closeSync(file);
  return bytes;
}

/** The graph with the bytes of its weights inside, for the interpreter. */
function materialised(graph: Graph): Graph {
  const inline = (weight: Weight): Weight => {
    const { dataType, shape } = weight;
    const bytes = materialiseWeight(weight, readRange).data;
    return { ...weight, source: { kind: "inline", dataType, shape, bytes } };
  };
  return { ...graph, weights: new Map([...graph.weights].map(([name, weight]) => [name, inline(weight)])) };
}

const as = (modelType: string, architecture: string) => ({ model_type: modelType, architectures: [architecture] });

const CONFIGS: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  "llama, 3 heads over 1": TINY_LLAMA,
  "llama, 8 heads over 4, 43 features": {
    ...TINY_LLAMA,
    hidden_size: 32,
    num_attention_heads: 8,
    num_key_value_heads: 4,
    intermediate_size: 43,
  },
  "llama, 9 heads over 3, biases, a vocabulary of 3": {
    ...TINY_LLAMA,
    hidden_size: 36,
    num_attention_heads: 9,
    num_key_value_heads: 3,
    attention_bias: true,
    mlp_bias: true,
    vocab_size: 3,
  },
  "llama, tied, head_dim apart": { ...TINY_LLAMA, head_dim: 6, tie_word_embeddings: true },
  "gpt2, 3 heads": TINY_GPT2,
  "mistral, a window of 2": { ...TINY_LLAMA, ...as("mistral", "MistralForCausalLM"), sliding_window: 2 },
  "qwen2, biases on q, k and v": { ...TINY_LLAMA, ...as("qwen2", "Qwen2ForCausalLM") },
  "qwen3, padded heads with norms": { ...TINY_LLAMA, ...as("qwen3", "Qwen3ForCausalLM"), head_dim: 12 },
  "gemma2, four norms, caps": { ...TINY_LLAMA, ...as("gemma2", "Gemma2ForCausalLM"), head_dim: 8, sliding_window: 2 },
  "gemma3, two kinds of positions": { ...TINY_LLAMA, ...as("gemma3_text", "Gemma3ForCausalLM"), sliding_window: 2 },
  "starcoder2, layer norms and a plain feed-forward": {
    ...TINY_LLAMA,
    ...as("starcoder2", "Starcoder2ForCausalLM"),
  },
  "phi3, packed tensors, 8 heads over 2": {
    ...TINY_LLAMA,
    ...as("phi3", "Phi3ForCausalLM"),
    hidden_size: 32,
    num_attention_heads: 8,
    num_key_value_heads: 2,
    partial_rotary_factor: 0.5,
  },
};

describe.each(Object.keys(CONFIGS))("%s", (name) => {
  test.each([1, 2, 3, 4, 5])("on %i ranks computes what one rank computes", async (worldSize) => {
    const config = CONFIGS[name]!;
    const graph = await build({ config });
    const plan = partition(graph, { worldSize });
    const shards = Array.from({ length: worldSize }, (_, rank) => materialised(shardGraph(graph, plan, rank)));
    const sizes = { batch: 2, numNew: 3, vocabSize: Number(config.vocab_size) };
    expect(compareGraphs(materialised(graph), shards, plan, sizes)).toBeLessThan(1e-9);

    const numLayers = 2;
    expect(plan.collectives.filter(({ insideGraph }) => insideGraph)).toHaveLength(worldSize === 1 ? 0 : 2 * numLayers);
    const products = plan.weights.filter(({ shape, sharding }) => shape.length === 2 && sharding.kind === "Shard");
    expect(products.map(({ role }) => role)).toEqual(
      worldSize === 1 ? [] : expect.arrayContaining(["columnParallel", "rowParallel", "vocabularyParallel"]),
    );
  });
});
