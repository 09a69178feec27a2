/**
 * Writes a checkpoint of any known family with random weights, from nothing but a config.json: speed and memory depend on
 * shapes, not on values, so they can be measured without a download. The family itself says which tensors it needs.
 */
import { openSync, closeSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { Checkpoint, type FileSource } from "./checkpoint.ts";
import { findFamily } from "./families.ts";
import type { BuildOptions } from "./family.ts";
import type { Graph } from "./graph.ts";
import { quantizeGraph } from "./quantize.ts";
import { Settings } from "./settings.ts";

/** Values to draw from; a power of two, so that a mask picks one. */
const POOL_SIZE = 65_536;
/** Elements written at once. */
const BLOCK_ELEMENTS = 1 << 22;
const BYTES_PER_ELEMENT = 2;

/** Notes what a family asks for. */
class WantedTensors extends Checkpoint {
  readonly shapes = new Map<string, readonly number[]>();

  override tensor(name: string, shape: readonly number[]): FileSource {
    this.shapes.set(name, shape);
    return { kind: "file", file: name, offset: 0, dataType: "bfloat16", shape };
  }
}

/** A checkpoint that can be written: config.json and model.safetensors (bfloat16). */
export interface RandomCheckpoint {
  readonly bytes: number;
  /** The graph that loadModel would read from it. */
  readonly graph: Graph;
  /** Fills an empty directory. */
  write(directory: string): void;
}

/**
 * @param origin names the config in errors
 * @throws {ModelError} when the config is of no known family or asks for what the family does not support
 */
export function planRandomCheckpoint(
  origin: string,
  config: Record<string, unknown>,
  options: BuildOptions = {},
  seed = 1,
): RandomCheckpoint {
  const settings = new Settings(origin, config);
  const wanted = new WantedTensors("", new Map());
  const { graph } = findFamily(settings).build(settings, wanted, options);
  const { shapes } = wanted;
  return {
    graph: quantizeGraph(graph, options),
    bytes: [...shapes.values()].reduce((sum, shape) => sum + countElements(shape) * BYTES_PER_ELEMENT, 0),
    write(directory) {
      writeFileSync(join(directory, "config.json"), JSON.stringify(config, undefined, 2));
      writeTensors(join(directory, "model.safetensors"), shapes, seed);
    },
  };
}

/** The shapes of the tensors that a checkpoint with this config holds, by name, as far as the family asks for them. */
export function listTensors(
  directory: string,
  config: Readonly<Record<string, unknown>>,
): ReadonlyMap<string, readonly number[]> {
  const settings = new Settings(join(directory, "config.json"), config);
  const wanted = new WantedTensors(directory, new Map());
  findFamily(settings).build(settings, wanted, {});
  return wanted.shapes;
}

function writeTensors(file: string, shapes: ReadonlyMap<string, readonly number[]>, seed: number): void {
  let offset = 0;
  const header: Record<string, unknown> = {};
  for (const [name, shape] of shapes) {
    const end = offset + countElements(shape) * BYTES_PER_ELEMENT;
    header[name] = { dtype: "BF16", shape, data_offsets: [offset, end] };
    offset = end;
  }
  const json = Buffer.from(JSON.stringify(header));
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(json.byteLength));
  const out = openSync(file, "wx");
  try {
    writeSync(out, size);
    writeSync(out, json);
    let state = seed;
    for (const [name, shape] of shapes) {
      const pool = makePool(name, shape);
      for (let left = countElements(shape); left > 0; left -= BLOCK_ELEMENTS) {
        const block = new Uint16Array(Math.min(left, BLOCK_ELEMENTS));
        for (let index = 0; index < block.length; index++) {
          // xorshift32: Marsaglia, "Xorshift RNGs", 2003.
          state ^= state << 13;
          state ^= state >>> 17;
          state ^= state << 5;
          block[index] = pool[state & (POOL_SIZE - 1)]!;
        }
        writeSync(out, block);
      }
    }
  } finally {
    closeSync(out);
  }
}

/** bfloat16 values of one tensor: 1 for norms, 0 for biases, else uniform with a standard deviation of 1 / sqrt(fan in). */
function makePool(name: string, shape: readonly number[]): Uint16Array {
  const isNorm = /(norm|ln_\w+)\.weight$/.test(name);
  const limit = name.endsWith("bias") ? 0 : Math.sqrt(3 / shape.at(-1)!);
  const values = Float32Array.from({ length: POOL_SIZE }, (_, index) =>
    isNorm ? 1 : limit * ((2 * (index + 0.5)) / POOL_SIZE - 1),
  );
  return new Uint16Array(new Uint32Array(values.buffer).map((bits) => bits >>> 16));
}

function countElements(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}
