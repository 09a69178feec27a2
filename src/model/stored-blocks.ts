/**
 * Matrices that a file already holds in 4 bits: whether a source keeps whole blocks of one type, and then its bytes as they are,
 * so that products can be computed with the very values of the file.
 */
import { BLOCK_LAYOUTS, type Run, type WeightSource } from "./graph.ts";

/** Types that packed matrices of 4 bits express exactly: a scale, perhaps a minimum, for 32 inputs. */
export type StoredBlockType = "Q4_0" | "Q4_1";

export interface StoredBlocks {
  readonly blockType: StoredBlockType;
  /** uint8 [out, blocks * bytes of a block] */
  readonly bytes: WeightSource;
}

/** The blocks of a matrix [out, in]; undefined when it is stored otherwise, in several types, or cut inside a block. */
export function findStoredBlocks(source: WeightSource): StoredBlocks | undefined {
  switch (source.kind) {
    case "blocks": {
      const { blockType, file, offset, shape } = source;
      if (blockType !== "Q4_0" && blockType !== "Q4_1") return undefined;
      const bytesShape = [...shape.slice(0, -1), bytesOf(blockType, shape.at(-1)!)];
      return { blockType, bytes: { kind: "file", file, offset, dataType: "uint8", shape: bytesShape } };
    }
    case "concat": {
      const parts = source.parts.map(findStoredBlocks).filter((part) => part !== undefined);
      const [first] = parts;
      if (first === undefined || parts.length < source.parts.length) return undefined;
      if (parts.some(({ blockType }) => blockType !== first.blockType)) return undefined;
      return { ...first, bytes: { ...source, parts: parts.map(({ bytes }) => bytes) } };
    }
    case "take": {
      const of = findStoredBlocks(source.of);
      if (of === undefined) return undefined;
      if (source.axis === 0) return { ...of, bytes: { ...source, of: of.bytes } };
      const runs = source.runs.map((run) => runOfBytes(run, of.blockType));
      if (!runs.every((run) => run !== undefined)) return undefined;
      return { ...of, bytes: { ...source, of: of.bytes, runs } };
    }
    case "file":
    case "inline":
      return undefined;
  }
}

/** Zero bytes are a block of zeros, in either type. */
function runOfBytes(run: Run, blockType: StoredBlockType): Run | undefined {
  const { elements } = BLOCK_LAYOUTS[blockType];
  const isWhole = Object.values(run).every((index) => index % elements === 0);
  if (!isWhole) return undefined;
  if ("zeros" in run) return { zeros: bytesOf(blockType, run.zeros) };
  return { begin: bytesOf(blockType, run.begin), end: bytesOf(blockType, run.end) };
}

function bytesOf(blockType: StoredBlockType, numElements: number): number {
  const { elements, bytes } = BLOCK_LAYOUTS[blockType];
  return (numElements / elements) * bytes;
}
