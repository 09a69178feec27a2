/**
 * The tensors of a checkpoint directory: model.safetensors, or the shards that model.safetensors.index.json lists.
 * Families ask for each tensor by name with the shape that config.json implies, so that a config and weights that disagree are
 * found before anything runs, also in the other direction: tensors that nobody asked for.
 */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { ModelError } from "../errors.ts";
import type { DataType, WeightSource } from "./graph.ts";
import { readSafetensorsHeader, type StoredTensor } from "./safetensors.ts";
import { isJsonObject, quoteJson, readJsonObject } from "./settings.ts";

const DATA_TYPES: Readonly<Record<string, DataType>> = { F32: "float32", F16: "float16", BF16: "bfloat16" };

/** A tensor of the checkpoint as a weight source. */
export type FileSource = Extract<WeightSource, { kind: "file" }>;

/** The tensors of one model, by name. */
export class Checkpoint {
  readonly directory: string;
  private readonly tensors: ReadonlyMap<string, StoredTensor>;
  private readonly used = new Set<string>();

  constructor(directory: string, tensors: ReadonlyMap<string, StoredTensor>) {
    this.directory = directory;
    this.tensors = tensors;
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
  tensor(name: string, shape: readonly number[]): FileSource {
    const stored = this.tensors.get(name);
    const wanted = `[${shape.join(", ")}]`;
    if (stored === undefined) {
      throw new ModelError(
        `Tensor "${name}" ${wanted}, which config.json implies, is missing from the checkpoint "${this.directory}" ` +
          `(${this.tensors.size} tensors). Check that config.json and the weights are of the same model.`,
      );
    }
    const found = `[${stored.shape.join(", ")}]`;
    if (found !== wanted) {
      throw new ModelError(
        `Tensor "${name}" in "${stored.file}" has shape ${found}, but config.json implies ${wanted}. ` +
          `Check that config.json and the weights are of the same model.`,
      );
    }
    const dataType = DATA_TYPES[stored.dtype];
    if (dataType === undefined) {
      throw new ModelError(
        `Tensor "${name}" in "${stored.file}" is stored as ${stored.dtype}; supported are ${Object.keys(DATA_TYPES).join(", ")}. ` +
          `Convert the checkpoint to one of them.`,
      );
    }
    this.used.add(name);
    return { kind: "file", file: stored.file, offset: stored.offset, dataType, shape: stored.shape };
  }

  /**
   * Checks that every tensor was asked for, but for those whose name matches `ignorable`.
   * @throws {ModelError} naming the first one left: leaving out a bias or a layer would give wrong answers silently.
   */
  refuseUnused(ignorable: RegExp): void {
    const unused = [...this.tensors.values()].filter(({ name }) => !this.used.has(name) && !ignorable.test(name));
    const first = unused[0];
    if (first === undefined) return;
    throw new ModelError(
      `Tensor "${first.name}" in "${first.file}" has no place in the model that config.json describes ` +
        `(${unused.length} such tensors). Check that config.json and the weights are of the same model.`,
    );
  }
}

/**
 * Opens the weights of a checkpoint directory; reads headers only.
 * @throws {ModelError} when weights are missing, damaged, or in a format that is not supported.
 */
export async function openCheckpoint(directory: string): Promise<Checkpoint> {
  const single = join(directory, "model.safetensors");
  if (existsSync(single)) return new Checkpoint(directory, await readSafetensorsHeader(single));
  const index = join(directory, "model.safetensors.index.json");
  if (existsSync(index)) return new Checkpoint(directory, await readShards(directory, index));

  const others = readdirSync(directory).filter((name) => /\.(bin|pt|pth|gguf|h5|msgpack|onnx|safetensors)$/.test(name));
  const found = others.length === 0 ? "" : ` It holds ${others.join(", ")}: convert them to safetensors.`;
  throw new ModelError(
    `Model directory "${directory}" holds no weights: expected model.safetensors or model.safetensors.index.json.${found}`,
  );
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
