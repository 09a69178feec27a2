/**
 * Writes a checkpoint directory with random weights for a config of any family: in any data type, in one file or several,
 * with the embedding under either name or both, with or without the prefix of the model's part.
 * The same seed gives the same values in every data type and layout, so that answers can be compared.
 */
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { listTensors } from "../../src/model/random-checkpoint.ts";
import { roundToEightBits, writeSafetensors, type StoredDataType, type TensorToWrite } from "./write-safetensors.ts";

/** What to write. */
export interface CheckpointOptions {
  /** config.json; every size that the family needs. Without model_type it is Llama. */
  readonly config: Readonly<Record<string, unknown>>;
  readonly generationConfig?: Readonly<Record<string, unknown>>;
  /** "F32" unless given. */
  readonly dtype?: StoredDataType;
  /** Number of files, with an index when more than one. */
  readonly numFiles?: number;
  readonly seed?: number;
  /** Which tables are stored: "table" the input embedding only, "head" lm_head.weight only, "both" (the same values when tied). */
  readonly embeddings?: "table" | "head" | "both";
  /** False: names without "model." / "transformer.". */
  readonly prefix?: boolean;
  /** Directory whose tokenizer.json and tokenizer_config.json are copied. */
  readonly tokenizerFrom?: string;
}

/** A small Llama config; 3 query heads over 1 key/value head of 8. */
export const TINY_LLAMA = {
  model_type: "llama",
  architectures: ["LlamaForCausalLM"],
  vocab_size: 40,
  hidden_size: 24,
  intermediate_size: 20,
  num_hidden_layers: 2,
  num_attention_heads: 3,
  num_key_value_heads: 1,
  max_position_embeddings: 64,
  bos_token_id: 1,
  eos_token_id: 2,
  tie_word_embeddings: false,
} as const;

/** A small GPT-2 config; 3 heads of 8. */
export const TINY_GPT2 = {
  model_type: "gpt2",
  architectures: ["GPT2LMHeadModel"],
  vocab_size: 40,
  n_embd: 24,
  n_head: 3,
  n_layer: 2,
  n_positions: 64,
  bos_token_id: 0,
  eos_token_id: 0,
} as const;

/** Writes a checkpoint into a new temporary directory; returns its path. */
export function writeTemporaryCheckpoint(options: CheckpointOptions): string {
  const directory = mkdtempSync(join(tmpdir(), "shardrun-checkpoint-"));
  writeCheckpoint(directory, options);
  return directory;
}

/** Writes a checkpoint into a directory, which is made when it does not exist. */
export function writeCheckpoint(directory: string, options: CheckpointOptions): void {
  const { config, generationConfig, dtype = "F32", numFiles = 1, tokenizerFrom } = options;
  mkdirSync(directory, { recursive: true });
  writeConfig(directory, config);
  if (generationConfig !== undefined) writeJson(join(directory, "generation_config.json"), generationConfig);

  const tensors = makeTensors(options);
  if (numFiles === 1) writeSafetensors(join(directory, "model.safetensors"), tensors, dtype);
  else writeShards(directory, tensors, dtype, numFiles);

  for (const name of ["tokenizer.json", "tokenizer_config.json"]) {
    const source = tokenizerFrom === undefined ? undefined : join(tokenizerFrom, name);
    if (source !== undefined && existsSync(source)) copyFileSync(source, join(directory, name));
  }
}

/** Writes config.json alone: a checkpoint whose config says something else than its weights. */
export function writeConfig(directory: string, config: Readonly<Record<string, unknown>>): void {
  writeJson(join(directory, "config.json"), config);
}

/** The tensors that such a checkpoint stores, in the order of the file. */
export function makeTensors(options: CheckpointOptions): TensorToWrite[] {
  const { config, seed = 1, prefix = true } = options;
  const isGpt2 = config.model_type === "gpt2";
  const shapes = listShapes(config);
  const part = !prefix ? "" : isGpt2 ? "transformer." : "model.";
  const tableName = part + (isGpt2 ? "wte.weight" : "embed_tokens.weight");
  const tied = (config.tie_word_embeddings ?? isGpt2) === true;
  const { embeddings = tied ? "table" : "both" } = options;

  const random = makeNormalRandom(seed);
  const tensors = Object.entries(shapes).map(([name, shape]) => {
    const isHead = name === "lm_head.weight";
    return { name: isHead ? name : part + name, shape, values: makeValues(name, shape, random) };
  });
  const table = tensors.find(({ name }) => name === tableName)!;
  const others = tensors.filter(({ name }) => name !== tableName && name !== "lm_head.weight");
  const untiedHead = tensors.find(({ name }) => name === "lm_head.weight")!;
  const head = tied || embeddings === "head" ? { ...untiedHead, values: table.values } : untiedHead;
  switch (embeddings) {
    case "table":
      return [table, ...others];
    case "head":
      return [...others, head];
    case "both":
      return [table, ...others, head];
  }
}

function writeShards(directory: string, tensors: TensorToWrite[], dtype: StoredDataType, numFiles: number): void {
  const weightMap: Record<string, string> = {};
  for (let file = 0; file < numFiles; file++) {
    const [number, total] = [file + 1, numFiles].map((value) => String(value).padStart(5, "0"));
    const name = `model-${number}-of-${total}.safetensors`;
    const begin = Math.floor((file * tensors.length) / numFiles);
    const shard = tensors.slice(begin, Math.floor(((file + 1) * tensors.length) / numFiles));
    writeSafetensors(join(directory, name), shard, dtype);
    for (const tensor of shard) weightMap[tensor.name] = name;
  }
  writeJson(join(directory, "model.safetensors.index.json"), { metadata: {}, weight_map: weightMap });
}

type Shapes = Record<string, number[]>;

/** Without the prefix. Llama and GPT-2 are listed here, so that not the families alone say what they need. */
function listShapes(config: Readonly<Record<string, unknown>>): Shapes {
  switch (config.model_type) {
    case "gpt2":
      return listGpt2Shapes(config);
    case "llama":
    case undefined:
      return listLlamaShapes(config);
    default: {
      const shapes = [...listTensors(".", config)].map(([name, shape]) => [name.replace(/^model\./, ""), [...shape]]);
      return Object.fromEntries(shapes) as Shapes;
    }
  }
}

function listLlamaShapes(config: Readonly<Record<string, unknown>>): Shapes {
  const size = (key: string): number => config[key] as number;
  const [V, D, F, N] = [
    size("vocab_size"),
    size("hidden_size"),
    size("intermediate_size"),
    size("num_attention_heads"),
  ];
  const K = (config.num_key_value_heads as number | undefined) ?? N;
  const H = (config.head_dim as number | undefined) ?? D / N;
  const shapes: Shapes = { "embed_tokens.weight": [V, D] };
  const linear = (name: string, outSize: number, inSize: number, bias: unknown): void => {
    shapes[`${name}.weight`] = [outSize, inSize];
    if (bias === true) shapes[`${name}.bias`] = [outSize];
  };
  for (let layer = 0; layer < size("num_hidden_layers"); layer++) {
    const name = `layers.${layer}`;
    shapes[`${name}.input_layernorm.weight`] = [D];
    linear(`${name}.self_attn.q_proj`, N * H, D, config.attention_bias);
    linear(`${name}.self_attn.k_proj`, K * H, D, config.attention_bias);
    linear(`${name}.self_attn.v_proj`, K * H, D, config.attention_bias);
    linear(`${name}.self_attn.o_proj`, D, N * H, config.attention_bias);
    shapes[`${name}.post_attention_layernorm.weight`] = [D];
    linear(`${name}.mlp.gate_proj`, F, D, config.mlp_bias);
    linear(`${name}.mlp.up_proj`, F, D, config.mlp_bias);
    linear(`${name}.mlp.down_proj`, D, F, config.mlp_bias);
  }
  return { ...shapes, "norm.weight": [D], "lm_head.weight": [V, D] };
}

function listGpt2Shapes(config: Readonly<Record<string, unknown>>): Shapes {
  const size = (key: string): number => config[key] as number;
  const [V, D] = [size("vocab_size"), size("n_embd")];
  const F = (config.n_inner as number | undefined | null) ?? 4 * D;
  const shapes: Shapes = { "wte.weight": [V, D], "wpe.weight": [size("n_positions"), D] };
  const withBias = (name: string, shape: number[]): void => {
    shapes[`${name}.weight`] = shape;
    shapes[`${name}.bias`] = shape.slice(-1);
  };
  for (let layer = 0; layer < size("n_layer"); layer++) {
    const name = `h.${layer}`;
    withBias(`${name}.ln_1`, [D]);
    withBias(`${name}.attn.c_attn`, [D, 3 * D]);
    withBias(`${name}.attn.c_proj`, [D, D]);
    withBias(`${name}.ln_2`, [D]);
    withBias(`${name}.mlp.c_fc`, [D, F]);
    withBias(`${name}.mlp.c_proj`, [F, D]);
  }
  withBias("ln_f", [D]);
  return { ...shapes, "lm_head.weight": [V, D] };
}

/** Wide enough that ids vary; a small table and a larger last norm, or else each token of a tied model would predict itself. */
function makeValues(name: string, shape: readonly number[], random: () => number): Float32Array {
  const numElements = shape.reduce((product, size) => product * size, 1);
  const isNorm = /norm\.weight$|ln_[12f]\.weight$/.test(name);
  const isTable = /embed_tokens|wte|wpe|lm_head/.test(name);
  const center = name === "norm.weight" || name === "ln_f.weight" ? 2 : isNorm ? 1 : 0;
  const spread = shape.length === 1 ? 0.2 : isTable ? 0.3 : 1.7 / Math.sqrt(Math.min(...shape));
  return Float32Array.from({ length: numElements }, () => roundToEightBits(center + spread * random()));
}

/** Normal random numbers from a seed (mulberry32, Box-Muller). */
function makeNormalRandom(seed: number): () => number {
  let state = seed >>> 0;
  const uniform = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let word = Math.imul(state ^ (state >>> 15), state | 1);
    word ^= word + Math.imul(word ^ (word >>> 7), word | 61);
    return ((word ^ (word >>> 14)) >>> 0) / 2 ** 32;
  };
  return () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
}

function writeJson(file: string, value: unknown): void {
  writeFileSync(file, JSON.stringify(value, null, 2));
}
