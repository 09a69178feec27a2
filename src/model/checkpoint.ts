/**
 * The tensors of a checkpoint: those of a directory (model.safetensors, or the shards that model.safetensors.index.json lists), or
 * those of a GGUF file. Families ask for each by Hugging Face's name with the shape that the settings imply, so that settings and
 * weights that disagree are found before anything runs, also in the other direction: tensors that nobody asked for.
 */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { ModelError } from "../errors.ts";
import type { DataType, WeightSource } from "./graph.ts";
import { readSafetensorsHeader, type StoredTensor } from "./safetensors.ts";
import { isJsonObject, quoteJson, readJsonObject } from "./settings.ts";

const DATA_TYPES: Readonly<Record<string, DataType>> = { F32: "float32", F16: "float16", BF16: "bfloat16" };

/** A tensor of the checkpoint that is stored as it is. */
export type FileSource = Extract<WeightSource, { kind: "file" }>;

/** A tensor that a checkpoint holds. */
export interface CheckpointTensor {
  /** In its file, which may call it otherwise than Hugging Face. */
  readonly name: string;
  readonly file: string;
  readonly shape: readonly number[];
  /** The format's own word: "F32", "Q4_1", ... */
  readonly storedType: string;
  /** Undefined: the stored type is not supported. */
  readonly source: WeightSource | undefined;
}

/** How errors speak of a checkpoint. */
export interface CheckpointFormat {
  /** What says which tensors there must be. */
  readonly settings: string;
  readonly supportedTypes: readonly string[];
}

const HUGGING_FACE: CheckpointFormat = { settings: "config.json", supportedTypes: Object.keys(DATA_TYPES) };

/** The tensors of one model, by Hugging Face's names. */
export class Checkpoint {
  /** The directory or the file. */
  readonly path: string;
  private readonly tensors: ReadonlyMap<string, CheckpointTensor>;
  private readonly format: CheckpointFormat;
  private readonly used = new Set<string>();

  constructor(path: string, tensors: ReadonlyMap<string, CheckpointTensor>, format = HUGGING_FACE) {
    this.path = path;
    this.tensors = tensors;
    this.format = format;
  }

  /** The files that hold the weights. */
  get files(): string[] {
    return [...new Set([...this.tensors.values()].map(({ file }) => file))];
  }

  has(name: string): boolean {
    return this.tensors.has(name);
  }

  /** The prefix with which `probe` is stored: base models are saved without the name of their part. */
  prefixOf(probe: string, prefix: string): string {
    return !this.has(prefix + probe) && this.has(probe) ? "" : prefix;
  }

  /**
   * A tensor, which must have this shape.
   * @throws {ModelError} when it is missing, has another shape, or a data type that is not supported.
   */
  tensor(name: string, shape: readonly number[]): WeightSource {
    const { settings, supportedTypes } = this.format;
    const stored = this.tensors.get(name);
    const wanted = `[${shape.join(", ")}]`;
    if (stored === undefined) {
      throw new ModelError(
        `Tensor "${name}" ${wanted}, which ${settings} implies, is missing from the checkpoint "${this.path}" ` +
          `(${this.tensors.size} tensors). Check that ${settings} and the weights are of the same model.`,
      );
    }
    const found = `[${stored.shape.join(", ")}]`;
    if (found !== wanted) {
      throw new ModelError(
        `Tensor "${stored.name}" in "${stored.file}" has shape ${found}, but ${settings} implies ${wanted}. ` +
          `Check that ${settings} and the weights are of the same model.`,
      );
    }
    if (stored.source === undefined) {
      throw new ModelError(
        `Tensor "${stored.name}" in "${stored.file}" is stored as ${stored.storedType}; supported are ${supportedTypes.join(", ")}. ` +
          `Convert the checkpoint to one of them.`,
      );
    }
    this.used.add(name);
    return stored.source;
  }

  /**
   * Checks that every tensor was asked for, but for those whose name matches `ignorable`.
   * @throws {ModelError} naming the first one left: leaving out a bias or a layer would give wrong answers silently.
   */
  refuseUnused(ignorable: RegExp): void {
    const unused = [...this.tensors].filter(([name]) => !this.used.has(name) && !ignorable.test(name));
    const first = unused[0]?.[1];
    if (first === undefined) return;
    const { settings } = this.format;
    throw new ModelError(
      `Tensor "${first.name}" in "${first.file}" has no place in the model that ${settings} describes ` +
        `(${unused.length} such tensors). Check that ${settings} and the weights are of the same model.`,
    );
  }
}

/**
 * Opens the weights of a checkpoint directory; reads headers only.
 * @throws {ModelError} when weights are missing, damaged, or in a format that is not supported.
 */
export async function openCheckpoint(directory: string): Promise<Checkpoint> {
  const single = join(directory, "model.safetensors");
  if (existsSync(single)) return new Checkpoint(directory, toTensors(await readSafetensorsHeader(single)));
  const index = join(directory, "model.safetensors.index.json");
  if (existsSync(index)) return new Checkpoint(directory, toTensors(await readShards(directory, index)));

  const others = readdirSync(directory).filter((name) => /\.(bin|pt|pth|gguf|h5|msgpack|onnx|safetensors)$/.test(name));
  const found = others.length === 0 ? "" : ` It holds ${others.join(", ")}: convert them to safetensors.`;
  throw new ModelError(
    `Model directory "${directory}" holds no weights: expected model.safetensors or model.safetensors.index.json.${found}`,
  );
}

function toTensors(stored: ReadonlyMap<string, StoredTensor>): Map<string, CheckpointTensor> {
  const tensors = [...stored].map(([key, { name, file, dtype, shape, offset }]): [string, CheckpointTensor] => {
    const dataType = DATA_TYPES[dtype];
    const source = dataType === undefined ? undefined : ({ kind: "file", file, offset, dataType, shape } as const);
    return [key, { name, file, shape, storedType: dtype, source }];
  });
  return new Map(tensors);
}

async function readShards(directory: string, index: string): Promise<Map<string, StoredTensor>> {
  const { weight_map: weightMap } = readJsonObject(index);
  if (!isJsonObject(weightMap))
    throw new ModelError(`Reading "${index}" failed: it has no "weight_map" of tensors to files.`);

  const headers = new Map<string, Map<string, StoredTensor>>();
  const tensors = new Map<string, StoredTensor>();
  for (const [name, shard] of Object.entries(weightMap)) {
    if (typeof shard !== "string" || !/^[^/\\]+\.safetensors$/.test(shard)) {
      throw new ModelError(
        `Reading "${index}" failed: tensor "${name}" lies in ${quoteJson(shard)}, expected the name of a .safetensors file beside the index.`,
      );
    }
    const file = join(directory, shard);
    if (!headers.has(shard)) {
      if (!existsSync(file)) {
        throw new ModelError(`"${file}", which "${index}" lists, does not exist: download the missing shard.`);
      }
      headers.set(shard, await readSafetensorsHeader(file));
    }
    const stored = headers.get(shard)?.get(name);
    if (stored === undefined) {
      throw new ModelError(
        `Tensor "${name}" is not in "${file}", where "${index}" says it is. Download the checkpoint again.`,
      );
    }
    tensors.set(name, stored);
  }
  return tensors;
}
