/**
 * Writes a checkpoint directory's model as a GGUF file, as llama.cpp's converter does it: its names, its metadata, and its order of
 * the rows of q and k. So the two can be compared, and every checkpoint with answers is a GGUF test too.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { openCheckpoint } from "../../src/model/checkpoint.ts";
import { readSafetensorsHeader } from "../../src/model/safetensors.ts";
import { materialiseWeight } from "../../src/shards/weight.ts";
import {
  encodeBlocks,
  float32Tensor,
  writeGguf,
  type ENCODED_BLOCKS,
  type GgufTensorToWrite,
  type GgufValue,
} from "./write-gguf.ts";
import type { TensorToWrite } from "./write-safetensors.ts";
import { readFileRange } from "../unit/shards/support.ts";

/** How the converter names a layer's parts; what is called otherwise in a family comes first below. */
const LAYER_PARTS: Readonly<Record<string, string>> = {
  input_layernorm: "attn_norm",
  "self_attn.q_proj": "attn_q",
  "self_attn.k_proj": "attn_k",
  "self_attn.v_proj": "attn_v",
  "self_attn.o_proj": "attn_output",
  post_attention_layernorm: "ffn_norm",
  "mlp.gate_proj": "ffn_gate",
  "mlp.up_proj": "ffn_up",
  "mlp.down_proj": "ffn_down",
  "self_attn.q_norm": "attn_q_norm",
  "self_attn.k_norm": "attn_k_norm",
  "self_attn.qkv_proj": "attn_qkv",
  "mlp.gate_up_proj": "ffn_up",
};
const FOUR_NORMS: Readonly<Record<string, string>> = {
  post_attention_layernorm: "post_attention_norm",
  pre_feedforward_layernorm: "ffn_norm",
  post_feedforward_layernorm: "post_ffw_norm",
};
const GLOBAL_PARTS: Readonly<Record<string, string>> = {
  "model.embed_tokens": "token_embd",
  "model.norm": "output_norm",
  lm_head: "output",
};

type Config = Readonly<Record<string, unknown>>;

/**
 * Writes the model of `directory` (one safetensors file) to `file`, as F32.
 * @param more metadata beside what the config says
 * @param moreTensors beside those of the directory
 */
export async function writeGgufModel(
  directory: string,
  file: string,
  more: Readonly<Record<string, GgufValue>> = {},
  moreTensors: readonly GgufTensorToWrite[] = [],
): Promise<void> {
  const config = readConfig(directory);
  const tensors = [...(await readTensors(directory, config)), ...moreTensors];
  writeGguf(file, { metadata: { ...ggufMetadata(config), ...more }, tensors });
}

/**
 * Writes it with matrices in blocks, each of the type that `typeOf` says of its name; what it says nothing of stays F32.
 */
export async function writeQuantizedGgufModel(
  directory: string,
  file: string,
  typeOf: (name: string) => keyof typeof ENCODED_BLOCKS | undefined,
): Promise<void> {
  const config = readConfig(directory);
  const tensors = (await readTensors(directory, config)).map((tensor) => {
    const type = typeOf(tensor.name);
    return type === undefined ? tensor : encodeBlocks(tensor, type);
  });
  writeGguf(file, { metadata: ggufMetadata(config), tensors });
}

/** Writes it as two files, all metadata in the first one; returns their names. */
export async function writeSplitGgufModel(directory: string, prefix: string): Promise<[string, string]> {
  const config = readConfig(directory);
  const tensors = await readTensors(directory, config);
  const half = Math.ceil(tensors.length / 2);
  const files: [string, string] = [`${prefix}-00001-of-00002.gguf`, `${prefix}-00002-of-00002.gguf`];
  const split = (number: number) => ({ "split.no": number, "split.count": 2 });
  writeGguf(files[0], { metadata: { ...ggufMetadata(config), ...split(0) }, tensors: tensors.slice(0, half) });
  writeGguf(files[1], { metadata: split(1), tensors: tensors.slice(half) });
  return files;
}

function readConfig(directory: string): Config {
  return JSON.parse(readFileSync(join(directory, "config.json"), "utf8")) as Config;
}

/** The converter's name of an architecture. */
function architectureOf(config: Config): string {
  const modelType = config["model_type"] as string;
  return { mistral: "llama", gemma3_text: "gemma3" }[modelType] ?? modelType;
}

export function ggufMetadata(config: Config): Record<string, GgufValue> {
  const name = architectureOf(config);
  const optional = (key: string, value: unknown) => (value == null ? {} : { [`${name}.${key}`]: value as GgufValue });
  const size = (key: string): number => config[key] as number;
  const headDim = (config["head_dim"] as number | undefined) ?? size("hidden_size") / size("num_attention_heads");
  return {
    "general.architecture": name,
    [`${name}.block_count`]: size("num_hidden_layers"),
    [`${name}.context_length`]: size("max_position_embeddings"),
    [`${name}.embedding_length`]: size("hidden_size"),
    [`${name}.feed_forward_length`]: size("intermediate_size"),
    [`${name}.attention.head_count`]: size("num_attention_heads"),
    ...optional("attention.head_count_kv", config["num_key_value_heads"]),
    ...optional("attention.sliding_window", config["sliding_window"]),
    ...optional("attn_logit_softcapping", config["attn_logit_softcapping"]),
    ...optional("final_logit_softcapping", config["final_logit_softcapping"]),
    [`${name}.attention.key_length`]: headDim,
    [`${name}.rope.dimension_count`]: headDim,
    [`${name}.rope.freq_base`]: (config["rope_theta"] as number | undefined) ?? 10000,
    [`${name}.attention.layer_norm_rms_epsilon`]: (config["rms_norm_eps"] as number | undefined) ?? 1e-6,
    "tokenizer.ggml.bos_token_id": size("bos_token_id"),
    "tokenizer.ggml.eos_token_id": size("eos_token_id"),
  };
}

async function readTensors(directory: string, config: Config): Promise<GgufTensorToWrite[]> {
  const architecture = architectureOf(config);
  return (await readFloatTensors(directory)).map(({ name, shape, values }) => {
    const numHeads = name.includes("q_proj") ? config["num_attention_heads"] : config["num_key_value_heads"];
    const isTurned = architecture === "llama" && /[qk]_proj/.test(name);
    const isDifference = architecture.startsWith("gemma") && name.endsWith("norm.weight");
    const turned = isTurned ? interleave(values, shape, numHeads as number) : values;
    return float32Tensor(ggufName(name, architecture), shape, isDifference ? turned.map((value) => value + 1) : turned);
  });
}

/** The tensors of a directory as float32. */
export async function readFloatTensors(directory: string): Promise<TensorToWrite[]> {
  const checkpoint = await openCheckpoint(directory);
  const stored = await readSafetensorsHeader(join(directory, "model.safetensors"));
  return [...stored.values()].map(({ name, shape }) => {
    const source = checkpoint.tensor(name, shape);
    const { data } = materialiseWeight({ name, dataType: "float32", shape, source }, readFileRange);
    return { name, shape, values: new Float32Array(data.slice().buffer) };
  });
}

function ggufName(name: string, architecture: string): string {
  const [, layer, part, kind] = /^(?:model\.layers\.(\d+)\.)?(.*)\.(weight|bias)$/.exec(name)!;
  const parts = /gemma[23]/.test(architecture) ? { ...LAYER_PARTS, ...FOUR_NORMS } : LAYER_PARTS;
  return layer === undefined ? `${GLOBAL_PARTS[part!]}.${kind}` : `blk.${layer}.${parts[part!]}.${kind}`;
}

/** The rows of each head: [half, pair] becomes [pair, half]. */
function interleave(
  values: Float32Array,
  [numRows = 1, rowLength = 1]: readonly number[],
  numHeads: number,
): Float32Array {
  const headDim = numRows / numHeads;
  const turned = new Float32Array(values.length);
  for (let head = 0; head < numHeads; head++) {
    for (let pair = 0; pair < headDim / 2; pair++) {
      for (const half of [0, 1]) {
        const from = (head * headDim + (half * headDim) / 2 + pair) * rowLength;
        turned.set(values.subarray(from, from + rowLength), (head * headDim + 2 * pair + half) * rowLength);
      }
    }
  }
  return turned;
}
