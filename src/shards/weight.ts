/**
 * Makes the bytes of one weight from the description of where they lie: a Weight goes in, the contiguous bytes that the
 * session reads come out. A result that is one range of a file in the wanted type is mapped and costs no memory;
 * everything else is allocated once and filled from mapped ranges.
 */
import { statSync } from "node:fs";
import type { NativeAddon } from "../collective/native.ts";
import { InternalError, ModelError } from "../errors.ts";
import { DATA_TYPE_BYTES, type Weight } from "../model/graph.ts";
import { expandInto } from "./blocks.ts";
import { copyInto, isConvertible } from "./convert.ts";
import { layOut, unitOf, type LeafSource, type Layout } from "./segments.ts";
import { forEachRow, rowsOf, sourceEnd, type Rows } from "./strides.ts";

/** Maps bytes of a file read-only; any alignment of offset. The addon's mapFile. */
export type MapFile = NativeAddon["mapFile"];

/** The bytes of a weight. */
export interface MaterialisedWeight {
  readonly data: Uint8Array;
  /** Whether `data` is the file itself (shared, read-only, paged in when touched) and not memory of this process. */
  readonly mapped: boolean;
}

/**
 * Evaluates the weight's source to the bytes of its data type and shape, row-major.
 * @throws {ModelError} when a file is gone, shorter than its header said, or cannot be mapped
 */
export function materialiseWeight(weight: Weight, mapFile: MapFile): MaterialisedWeight {
  const { layout, copies } = planCopies(weight);
  if (isOneRange(weight, copies, layout)) {
    return { data: readLeaf(copies[0]!.leaf, rangeOf([copies[0]!.rows]), weight, mapFile), mapped: true };
  }
  const data = new Uint8Array(numElements(layout.shape) * DATA_TYPE_BYTES[weight.dataType]);
  // All rows of a leaf together: a permutation may have made thousands of them, and each mapping costs a system call.
  const groups = new Map<LeafSource, Rows[]>();
  for (const { leaf, rows } of copies) {
    const group = groups.get(leaf);
    if (group === undefined) groups.set(leaf, [rows]);
    else group.push(rows);
  }
  for (const [leaf, group] of groups) fill(data, leaf, group, weight, mapFile);
  return { data, mapped: false };
}

/** Whether the weight will be the file itself; else its bytes have to be made. */
export function isMapped(weight: Weight): boolean {
  if (weight.packing !== undefined) return false;
  const { layout, copies } = planCopies(weight);
  return isOneRange(weight, copies, layout);
}

interface Copy {
  readonly leaf: LeafSource;
  readonly rows: Rows;
}

function planCopies(weight: Weight): { layout: Layout; copies: Copy[] } {
  const layout = layOut(weight.source);
  if (layout.shape.join() !== weight.shape.join()) {
    throw new InternalError(
      `Weight "${weight.name}" is declared as [${weight.shape.join(", ")}] but its source has the shape [${layout.shape.join(", ")}].`,
    );
  }
  return {
    layout,
    copies: layout.segments.map((segment) => ({ leaf: segment.leaf, rows: rowsOf(segment, layout.shape) })),
  };
}

/** One range of a file, in the wanted type, at an address that the kernels may read as that type. */
function isOneRange(weight: Weight, copies: readonly Copy[], layout: Layout): boolean {
  if (copies.length !== 1) return false;
  const { leaf, rows } = copies[0]!;
  return (
    leaf.kind === "file" &&
    shiftOf(leaf) === 0 &&
    leaf.dataType === weight.dataType &&
    leaf.offset % DATA_TYPE_BYTES[leaf.dataType] === 0 &&
    rows.length === numElements(layout.shape)
  );
}

function fill(data: Uint8Array, leaf: LeafSource, group: readonly Rows[], weight: Weight, mapFile: MapFile): void {
  const storedType = leaf.kind === "blocks" ? leaf.blockType : leaf.dataType;
  if (leaf.kind === "blocks" ? weight.dataType !== "float32" : !isConvertible(leaf.dataType, weight.dataType)) {
    throw new ModelError(
      `Weight "${weight.name}" is stored as ${storedType} and wanted as ${weight.dataType}; ` +
        "only float16, bfloat16, float32 and the blocks of GGUF files are converted, to float32. Store it in one of these types.",
    );
  }
  const range = rangeOf(group);
  const stored = readLeaf(leaf, range, weight, mapFile);
  const copy =
    leaf.kind === "blocks"
      ? expandInto(stored, leaf.blockType, range.begin, data)
      : copyInto(stored, leaf.dataType, data, weight.dataType);
  const summand = shiftOf(leaf);
  const shift = summand === 0 ? undefined : addTo(data, summand);
  for (const rows of group) {
    forEachRow(rows, (source, destination) => {
      copy(source - range.begin, destination, rows.length);
      shift?.(destination, rows.length);
    });
  }
}

/** What is added to every element of a leaf. */
function shiftOf(leaf: LeafSource): number {
  return leaf.kind === "file" ? (leaf.plus ?? 0) : 0;
}

/** Adds to `count` float32 elements of `data` from `start` on. */
function addTo(data: Uint8Array, summand: number): (start: number, count: number) => void {
  const values = new Float32Array(data.buffer, data.byteOffset, data.byteLength / Float32Array.BYTES_PER_ELEMENT);
  return (start, count) => {
    for (let index = start; index < start + count; index++) values[index]! += summand;
  };
}

/** Elements [begin, end) of a leaf. */
interface ElementRange {
  readonly begin: number;
  readonly end: number;
}

/** From the first to the last element that the rows touch. */
function rangeOf(group: readonly Rows[]): ElementRange {
  return group.reduce(
    ({ begin, end }, rows) => ({ begin: Math.min(begin, rows.sourceStart), end: Math.max(end, sourceEnd(rows)) }),
    { begin: Infinity, end: 0 },
  );
}

/** The leaf's bytes of a range; of blocks, all that the range touches. */
function readLeaf(leaf: LeafSource, range: ElementRange, weight: Weight, mapFile: MapFile): Uint8Array {
  const unit = unitOf(leaf);
  const begin = Math.floor(range.begin / unit.elements) * unit.bytes;
  const end = Math.ceil(range.end / unit.elements) * unit.bytes;
  if (leaf.kind === "inline") return leaf.bytes.subarray(begin, end);
  checkFileHolds(leaf.file, leaf.offset + end, weight);
  try {
    return mapFile(leaf.file, leaf.offset + begin, end - begin);
  } catch (cause) {
    throw new ModelError(`Mapping weight "${weight.name}" from ${leaf.file} failed: ${(cause as Error).message}`, {
      cause,
    });
  }
}

/** Reading a mapping past the end of its file would kill the process, so the size is looked at again first. */
function checkFileHolds(file: string, end: number, weight: Weight): void {
  let size: number;
  try {
    size = statSync(file).size;
  } catch (cause) {
    throw new ModelError(
      `Weight "${weight.name}" cannot be read: ${file} has gone since its header was read (${(cause as Error).message}). Put the file back and load again.`,
      { cause },
    );
  }
  if (size < end) {
    throw new ModelError(
      `Weight "${weight.name}" cannot be read: ${file} now has ${size} bytes, and the weight ends at byte ${end}. ` +
        "The file has changed since its header was read; load again when it is complete.",
    );
  }
}

function numElements(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}
