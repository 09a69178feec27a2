/**
 * A GGUF file as a checkpoint: what config.json, generation_config.json and the tokenizer's files would say comes from its metadata,
 * the tensors get Hugging Face's names and order of rows. Reads headers only; the weights stay where they are.
 */
import { closeSync, existsSync, openSync, readSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { ModelError } from "../../errors.ts";
import { Checkpoint, type CheckpointTensor } from "../checkpoint.ts";
import type { Run, WeightSource } from "../graph.ts";
import { Settings } from "../settings.ts";
import type { TokenizerSource } from "../tokenizer-source.ts";
import { commonSettings, GGUF_ARCHITECTURES, huggingFaceName, type GgufArchitecture } from "./architectures.ts";
import { readGgufHeader, type GgufHeader, type GgufTensor } from "./header.ts";
import { READABLE_TYPES, tensorSource } from "./tensor-types.ts";
import { ggufTokenizer } from "./tokenizer.ts";

/** All that a checkpoint directory would hold. */
export interface GgufModel {
  readonly config: Settings;
  readonly generationConfig: Settings;
  readonly checkpoint: Checkpoint;
  readonly tokenizer: TokenizerSource;
}

const ROTARY_FACTORS = "rope_freqs.weight";
/** Of a head; many times what any model has. */
const MAX_FACTORS = 8192;

/** "model-00001-of-00003.gguf" */
const PART = /^(.*)-(\d{5})-of-(\d{5})\.gguf$/;

/**
 * Opens a GGUF file, or all files of a model that was split into several, by any of them.
 * @throws {ModelError} when a file is missing or damaged, or holds what is not supported
 */
export function openGguf(file: string): GgufModel {
  const headers = listParts(file).map(readGgufHeader) as [GgufHeader, ...GgufHeader[]];
  const { metadata } = headers[0];
  checkSplit(headers);
  const name = metadata.choice("general.architecture", Object.keys(GGUF_ARCHITECTURES));
  const architecture = GGUF_ARCHITECTURES[name]!;
  const tensors = new Map(headers.flatMap(({ tensors: part }) => part.map((tensor) => [tensor.name, tensor] as const)));
  const facts = {
    vocabSize: tensors.get("token_embd.weight")?.shape[0],
    rotaryFactors: readRotaryFactors(tensors.get(ROTARY_FACTORS)),
    has: (each: string) => tensors.has(each),
  };
  // It has become a setting.
  tensors.delete(ROTARY_FACTORS);
  const settings = { ...commonSettings(name, metadata, facts), ...architecture.settings(metadata) };
  const config = new Settings(metadata.file, withoutMissing(settings));
  const tokenIds = (...kinds: string[]) =>
    kinds.flatMap((kind) => metadata.tokenIds(`tokenizer.ggml.${kind}_token_id`));
  return {
    config,
    generationConfig: new Settings(metadata.file, {
      bos_token_id: tokenIds("bos"),
      eos_token_id: [...new Set(tokenIds("eos", "eot", "eom"))],
      pad_token_id: tokenIds("padding"),
    }),
    checkpoint: openTensors(file, [...tensors.values()], architecture, config),
    tokenizer: ggufTokenizer(metadata),
  };
}

/** What the file does not say is missing here too, so that the family's default holds. */
function withoutMissing(settings: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined));
}

/** The one tensor that is read here, since it decides a constant of the graph: some dozens of float32 numbers. */
function readRotaryFactors(tensor: GgufTensor | undefined): number[] | undefined {
  if (tensor === undefined) return undefined;
  const { name, file, type, shape, offset } = tensor;
  const [count = 0] = shape;
  if (type !== "F32" || shape.length !== 1 || count > MAX_FACTORS) {
    throw new ModelError(
      `Tensor "${name}" [${shape.join(", ")}] ${type} in "${file}": expected a list of at most ${MAX_FACTORS} F32 numbers. Convert it again.`,
    );
  }
  const bytes = Buffer.alloc(4 * count);
  const descriptor = openSync(file, "r");
  try {
    readSync(descriptor, bytes, 0, bytes.length, offset);
  } finally {
    closeSync(descriptor);
  }
  return Array.from({ length: count }, (_, index) => bytes.readFloatLE(4 * index));
}

/** The files of a split model, in order. */
function listParts(file: string): string[] {
  const [, prefix, , count] = PART.exec(basename(file)) ?? [];
  if (count === undefined) return [file];
  const parts = Array.from({ length: Number(count) }, (_, index) =>
    join(dirname(file), `${prefix}-${String(index + 1).padStart(5, "0")}-of-${count}.gguf`),
  );
  const missing = parts.find((part) => !existsSync(part));
  if (missing !== undefined) {
    throw new ModelError(`"${missing}" is missing beside "${file}": download all ${Number(count)} parts of the model.`);
  }
  return parts;
}

/** Every file of a split model knows its place; a single file may not be one part of several. */
function checkSplit(headers: readonly GgufHeader[]): void {
  headers.forEach(({ file, metadata }, index) => {
    const count = metadata.integer("split.count", headers.length, 0);
    const number = metadata.integer("split.no", index, 0);
    if (Math.max(count, 1) !== headers.length || number !== index) {
      throw new ModelError(
        `"${file}" is part ${number + 1} of a model in ${count} files, but its name says part ${index + 1} of ${headers.length}. ` +
          "Give the files back the names NAME-00001-of-0000N.gguf.",
      );
    }
  });
}

function openTensors(
  file: string,
  tensors: readonly GgufTensor[],
  architecture: GgufArchitecture,
  config: Settings,
): Checkpoint {
  const heads = {
    attn_q: config.integer("num_attention_heads"),
    attn_k: config.integer("num_key_value_heads", config.integer("num_attention_heads")),
  };
  const entries = tensors.map(({ name, type, file: part, offset, shape }): [string, CheckpointTensor] => {
    const stored = tensorSource(type, part, offset, shape);
    const interleaved = architecture.interleaved.find((each) => name.split(".").at(-2) === each);
    const source =
      stored !== undefined && interleaved !== undefined
        ? separateHalves(stored, shape[0]!, heads[interleaved])
        : stored?.kind === "file" && architecture.storesWholeNorms && name.endsWith("norm.weight")
          ? { ...stored, plus: -1 }
          : stored;
    return [huggingFaceName(name, architecture), { name, file: part, shape, storedType: type, source }];
  });
  return new Checkpoint(file, new Map(entries), { settings: "its metadata", supportedTypes: READABLE_TYPES });
}

/**
 * Rows of heads from llama.cpp's order to Hugging Face's: there rows 2i and 2i+1 of a head are turned together by rotary positions,
 * here rows i and i + H/2.
 */
function separateHalves(source: WeightSource, numRows: number, numHeads: number): WeightSource {
  const headDim = numRows / numHeads;
  const runs = Array.from({ length: numRows }, (_, row): Run => {
    const head = Math.floor(row / headDim) * headDim;
    const inHead = row - head;
    const begin = head + 2 * (inHead % (headDim / 2)) + Math.floor(inHead / (headDim / 2));
    return { begin, end: begin + 1 };
  });
  return { kind: "take", of: source, axis: 0, runs };
}
