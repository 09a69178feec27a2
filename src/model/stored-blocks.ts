/**
 * Matrices that a file already holds in 4 bits: whether a source keeps whole blocks of one type, and then its bytes as they are,
 * so that products can be computed with the very values of the file.
 */
import { BLOCK_LAYOUTS, type Run, type WeightSource } from "./graph.ts";

/** Types whose values packed matrices of 4 bits take over: a scale, perhaps a minimum, for 32 inputs. */
const STORED_BLOCK_TYPES = ["Q4_0", "Q4_1", "Q4_K"] as const;
export type StoredBlockType = (typeof STORED_BLOCK_TYPES)[number];

/** Inputs that share a scale in all of these types. Blocks of Q4_K hold 8 times as many, and the 8 scales. */
export const STORED_BLOCK_SIZE = 32;

export interface StoredBlocks {
  readonly blockType: StoredBlockType;
  /** uint8 [out, blocks * bytes of a block] */
  readonly bytes: WeightSource;
}

/** The blocks of a matrix [out, in]; undefined when it is stored otherwise, in several types, or cut inside a block. */
export function findStoredBlocks(source: WeightSource): StoredBlocks | undefined {
  switch (source.kind) {
    case "blocks": {
      const blockType = STORED_BLOCK_TYPES.find((type) => type === source.blockType);
      if (blockType === undefined) return undefined;
      const { file, offset, shape } = source;
      const bytesShape = [...shape.slice(0, -1), bytesOf(blockType, shape.at(-1)!)];
      return { blockType, bytes: { kind: "file", file, offset, dataType: "uint8", shape: bytesShape } };
    }
    case "take": {
      const of = findStoredBlocks(source.of);
      if (of === undefined) return undefined;
      if (source.axis === 0) return { ...of, bytes: { ...source, of: of.bytes } };
      const runs = source.runs.map((run) => runOfBytes(run, of.blockType));
      if (!runs.every((run) => run !== undefined)) return undefined;
      return { ...of, bytes: { ...source, of: of.bytes, runs } };
    }
    case "concat": // its parts may be of several types: divideOutputs
    case "file":
    case "inline":
      return undefined;
  }
}

/** Some outputs of a matrix [out, in]. */
export interface OutputPart {
  readonly source: WeightSource;
  readonly numOutputs: number;
}

/** Sources that joined along the outputs are this one, each stored in one type where that can be had: q|k|v may be of several. */
export function divideOutputs(source: WeightSource): readonly OutputPart[] {
  switch (source.kind) {
    case "concat":
      if (source.axis === 0) return source.parts.flatMap(divideOutputs);
      return [{ source, numOutputs: countOutputs(source.parts[0]!) }];
    case "take":
      if (source.axis === 0) return takeOutputs(divideOutputs(source.of), source.runs);
      return [{ source, numOutputs: countOutputs(source.of) }];
    case "file":
    case "blocks":
    case "inline":
      return [{ source, numOutputs: source.shape[0]! }];
  }
}

function countOutputs(source: WeightSource): number {
  return divideOutputs(source).reduce((sum, { numOutputs }) => sum + numOutputs, 0);
}

/** The runs of the joined parts, cut where one part ends and the next begins. */
function takeOutputs(parts: readonly OutputPart[], runs: readonly Run[]): readonly OutputPart[] {
  const pieces: { readonly part: OutputPart; readonly runs: Run[] }[] = [];
  const add = (part: OutputPart, run: Run): void => {
    const last = pieces.at(-1);
    if (last?.part === part) last.runs.push(run);
    else pieces.push({ part, runs: [run] });
  };
  for (const run of runs) {
    let first = 0;
    for (const part of parts) {
      const [begin, end] = [Math.max(run.begin - first, 0), Math.min(run.end - first, part.numOutputs)];
      if (begin < end) add(part, { begin, end });
      first += part.numOutputs;
    }
  }
  return pieces.map(({ part, runs: taken }) => ({
    source: { kind: "take", of: part.source, axis: 0, runs: taken },
    numOutputs: taken.reduce((sum, run) => sum + run.end - run.begin, 0),
  }));
}

function runOfBytes(run: Run, blockType: StoredBlockType): Run | undefined {
  const { elements } = BLOCK_LAYOUTS[blockType];
  if (run.begin % elements !== 0 || run.end % elements !== 0) return undefined;
  return { begin: bytesOf(blockType, run.begin), end: bytesOf(blockType, run.end) };
}

function bytesOf(blockType: StoredBlockType, numElements: number): number {
  const { elements, bytes } = BLOCK_LAYOUTS[blockType];
  return (numElements / elements) * bytes;
}
