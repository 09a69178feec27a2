/**
 * Makes the packed bytes of a matrix: rows of its source are read a few at a time, in the type in which they are stored,
 * and native code packs them, so that a matrix is never there as a whole in another type.
 * Scales come from whole rows of the source, also where only some of its inputs are packed.
 */
import { availableParallelism } from "node:os";
import { native, type FloatMatrix, type PackTarget } from "../collective/native.ts";
import { DATA_TYPE_BYTES, type Packing, type Weight, type WeightSource } from "../model/graph.ts";
import { boundOf, countPackedBytes, packedLayoutOf } from "../model/packed-layout.ts";
import { divideOutputs, findStoredBlocks, type StoredBlocks } from "../model/stored-blocks.ts";
import { layOut, type LeafSource } from "./segments.ts";
import { takeApart } from "./stored-blocks.ts";
import { materialiseWeight, type MapFile } from "./weight.ts";

/** Elements of the source that are read at a time: 16 MiB of float32, little beside a model and enough for every thread. */
const BLOCK_ELEMENTS = 1 << 22;

/** A weight that must be packed. */
export type PackedWeight = Weight & { readonly packing: Packing };

export function isPacked(weight: Weight): weight is PackedWeight {
  return weight.packing !== undefined;
}

type FloatType = FloatMatrix["dataType"];

/** Some outputs of a matrix with all inputs of its source, [numOutputs, numInputs] in floats of a type. */
interface SourceRows {
  readonly data: Uint8Array;
  readonly dataType: FloatType;
  readonly numOutputs: number;
  readonly numInputs: number;
}

/**
 * The packed bytes of a weight.
 * @throws {ModelError} when a file has gone or changed since its header was read
 */
export function packWeight(weight: PackedWeight, mapFile: MapFile): Uint8Array {
  const layout = packedLayoutOf(weight)!;
  const packed = new Uint8Array(countPackedBytes(layout));
  const { source, packing } = weight;
  const numInputs = layOut(source).shape[packing.isTransposed ? 0 : 1]!;
  const rowsAtOnce = Math.max(1, Math.floor(BLOCK_ELEMENTS / numInputs));
  const parts = packing.keepsBlocks ? divideOutputs(source) : [{ source, numOutputs: layout.outFeatures }];
  let firstOutput = 0;
  for (const part of parts) {
    const blocks = packing.keepsBlocks ? findStoredBlocks(part.source) : undefined;
    for (let begin = 0; begin < part.numOutputs; begin += rowsAtOnce) {
      const numOutputs = Math.min(rowsAtOnce, part.numOutputs - begin);
      const target = { layout, packed, firstOutput, numOutputs, numThreads: availableParallelism() };
      if (blocks !== undefined) {
        packStoredRows(target, weight, { blocks, begin, numInputs }, mapFile);
      } else {
        const rows = readRows({ ...weight, source: part.source }, begin, { numOutputs, numInputs }, mapFile);
        packRows(target, packing, rows);
      }
      firstOutput += numOutputs;
    }
  }
  return packed;
}

function packRows(target: PackTarget, packing: Packing, rows: SourceRows): void {
  const { bits } = target.layout;
  if (bits === 32) native().packFloat32({ ...target, source: takeColumns(rows, packing.inputs) });
  else if (bits === 8) packRowsInt8(target, packing, rows);
  else packRowsInt4(target, packing, rows);
}

/** Reads outputs of the source, in its own type if it has only one; a matrix [in, out] is turned. */
function readRows(
  { name, source, packing }: PackedWeight,
  begin: number,
  { numOutputs, numInputs }: { numOutputs: number; numInputs: number },
  mapFile: MapFile,
): SourceRows {
  const runs = [{ begin, end: begin + numOutputs }];
  const taken = { kind: "take", of: source, axis: packing.isTransposed ? 1 : 0, runs } as const;
  const dataType = packing.isTransposed ? "float32" : storedType(source);
  const shape = packing.isTransposed ? [numInputs, numOutputs] : [numOutputs, numInputs];
  const { data } = materialiseWeight({ name, dataType, shape, source: taken }, mapFile);
  const turned = packing.isTransposed ? transpose(data, numInputs, numOutputs) : data;
  return { data: turned, dataType, numOutputs, numInputs };
}

/** The type in which a source lies, if all of it has one that native code reads; else float32. */
function storedType(source: WeightSource): FloatType {
  const [first, ...others] = new Set(layOut(source).segments.map(({ leaf }) => floatTypeOf(leaf)));
  return others.length === 0 && first !== undefined ? first : "float32";
}

function floatTypeOf(leaf: LeafSource): FloatType {
  if (leaf.kind === "blocks" || (leaf.kind === "file" && leaf.plus)) return "float32";
  return leaf.dataType === "float16" || leaf.dataType === "bfloat16" ? leaf.dataType : "float32";
}

/** float32 [rows, columns] -> [columns, rows] */
function transpose(data: Uint8Array, numRows: number, numColumns: number): Uint8Array {
  const from = new Float32Array(data.buffer, data.byteOffset, numRows * numColumns);
  const to = new Float32Array(from.length);
  for (let row = 0; row < numRows; row += 1) {
    for (let column = 0; column < numColumns; column += 1)
      to[column * numRows + row] = from[row * numColumns + column]!;
  }
  return new Uint8Array(to.buffer);
}

/** A scale per output, from its largest value over all inputs. */
function packRowsInt8(target: PackTarget, { inputs }: Packing, rows: SourceRows): void {
  native().packInt8({ ...target, source: takeColumns(rows, inputs), maxima: findMaxima(rows, target) });
}

/** The largest magnitude of each row, over all inputs. */
function findMaxima(rows: SourceRows, { numThreads }: PackTarget): Float32Array {
  const { data, dataType, numOutputs: numRows, numInputs } = rows;
  const maxima = new Float32Array(numRows);
  const source = { data, dataType, numColumns: numInputs, rowStride: numInputs };
  native().absoluteMaxima({ source, numRows, maxima, numThreads });
  return maxima;
}

/** A scale per block, from all of its inputs. */
function packRowsInt4(target: PackTarget, { blockSize, inputs }: Packing, rows: SourceRows): void {
  const { begin, end } = inputs[0] ?? { begin: 0, end: 0 };
  const whole = {
    begin: Math.floor(begin / blockSize) * blockSize,
    end: Math.min(Math.ceil(end / blockSize) * blockSize, rows.numInputs),
  };
  // The largest value is 8 scales, of which 15 count where there are minima.
  const bounds = findMaxima(rows, target).map((maximum) => boundOf(2 * maximum, rows.numInputs));
  native().packInt4({ ...target, source: takeColumns(rows, [whole]), bounds });
}

/** The file's own blocks, of which the first and the last may be cut. */
function packStoredRows(
  target: PackTarget,
  { name, packing }: PackedWeight,
  { blocks, begin, numInputs }: { readonly blocks: StoredBlocks; readonly begin: number; readonly numInputs: number },
  mapFile: MapFile,
): void {
  const { numOutputs: numRows } = target;
  const rows: WeightSource = { kind: "take", of: blocks.bytes, axis: 0, runs: [{ begin, end: begin + numRows }] };
  const { data } = materialiseWeight({ name, dataType: "uint8", shape: layOut(rows).shape, source: rows }, mapFile);
  const inputs = packing.inputs[0] ?? { begin: 0, end: 0 };
  const firstBlock = Math.floor(inputs.begin / packing.blockSize);
  const numBlocks = Math.ceil(inputs.end / packing.blockSize) - firstBlock;
  const parts = takeApart(data, blocks.blockType, { numRows, firstBlock, numBlocks });
  const bounds = parts.largest.map((largest) => boundOf(largest, numInputs));
  native().packInt4Values({ ...target, ...parts, bounds });
}

/** Some inputs of the rows; a single stretch of them is no copy. */
function takeColumns({ data, dataType, numOutputs, numInputs }: SourceRows, runs: Packing["inputs"]): FloatMatrix {
  const bytes = DATA_TYPE_BYTES[dataType];
  const numColumns = runs.reduce((sum, { begin, end }) => sum + end - begin, 0);
  if (runs.length <= 1) {
    return { data: data.subarray((runs[0]?.begin ?? 0) * bytes), dataType, numColumns, rowStride: numInputs };
  }
  const copied = new Uint8Array(numOutputs * numColumns * bytes);
  let at = 0;
  for (let row = 0; row < numOutputs; row += 1) {
    for (const { begin, end } of runs) {
      const part = data.subarray((row * numInputs + begin) * bytes, (row * numInputs + end) * bytes);
      copied.set(part, at);
      at += part.byteLength;
    }
  }
  return { data: copied, dataType, numColumns, rowStride: numColumns };
}
