/**
 * What a packed matrix looks like from outside: the attributes with which a kernel reads it, and its size in bytes.
 * Pure arithmetic beside native/kernels/packed_weight.h, which says how the bytes lie, so that a plan needs no addon.
 */
import type { PackedLayout } from "../collective/native.ts";
import { InternalError } from "../errors.ts";
import { DATA_TYPE_BYTES, type Attribute, type Packing, type Weight } from "./graph.ts";

/** Outputs of one tile, inputs of one group. */
const TILE_OUTPUTS = 16;
const GROUP_INPUTS = 4;
const ALIGNMENT_BYTES = 64;

/** The layout of a weight that is packed; undefined for any other. */
export function packedLayoutOf({ name, shape, packing }: Weight): PackedLayout | undefined {
  if (packing === undefined) return undefined;
  const [outFeatures, inFeatures] = shape as [number, number];
  const { bits, blockSize, hasMinima = false, inputs } = packing;
  if (bits !== 4) return { bits, outFeatures, inFeatures };
  if (inputs.length > 1) {
    throw new InternalError(`Weight "${name}" packs ${inputs.length} stretches of inputs; blocks need a single one.`);
  }
  const inOffset = (inputs[0]?.begin ?? 0) % blockSize;
  return { bits, outFeatures, inFeatures, blockSize, hasMinimum: hasMinima, inOffset };
}

/** Bytes of the packed form. */
export function countPackedBytes(layout: PackedLayout): number {
  return Math.ceil(layout.outFeatures / TILE_OUTPUTS) * countTileBytes(layout);
}

/** A tile: bounds, scales, minima and values of 16 outputs, each part padded to 64 bytes. */
function countTileBytes(layout: PackedLayout): number {
  if (layout.bits === 32) return layout.inFeatures * TILE_OUTPUTS * DATA_TYPE_BYTES.float32;
  if (layout.bits === 8) {
    return TILE_OUTPUTS * DATA_TYPE_BYTES.float32 + roundUp(layout.inFeatures, GROUP_INPUTS) * TILE_OUTPUTS;
  }
  const { inFeatures, blockSize, hasMinimum, inOffset } = layout;
  const numBlocks = Math.ceil((inOffset + inFeatures) / blockSize);
  const scaleBytes = roundUp(numBlocks * TILE_OUTPUTS * DATA_TYPE_BYTES.float16, ALIGNMENT_BYTES);
  const boundBytes = TILE_OUTPUTS * DATA_TYPE_BYTES.float32;
  return boundBytes + scaleBytes * (hasMinimum ? 2 : 1) + (numBlocks * blockSize * TILE_OUTPUTS) / 2;
}

/** Inputs up to which an output's bound, native/kernels/packed_weight.h, is that of its largest weight. */
const BOUND_INPUTS = 8192;

/**
 * The bound of an output of 4 bits, from the largest number of its row in the whole matrix: in units that follow from it, products
 * of all ranks are added up as integers of 32 bits.
 */
export function boundOf(largest: number, numInputs: number): number {
  if (!(largest > 0)) return 1;
  return 2 ** Math.ceil(Math.log2(largest * Math.max(1, numInputs / BOUND_INPUTS)));
}

function roundUp(value: number, multiple: number): number {
  return Math.ceil(value / multiple) * multiple;
}

/** The attributes of a node that reads the weight; none when it is not packed. */
export function packedAttributes(weight: Weight): Readonly<Record<string, Attribute>> {
  const layout = packedLayoutOf(weight);
  if (layout === undefined) return {};
  const { bits, inFeatures, outFeatures } = layout;
  const { blockSize, hasMinimum, inOffset } = layout.bits === 4 ? layout : WITHOUT_BLOCKS;
  const values = {
    bits,
    in_features: inFeatures,
    out_features: outFeatures,
    block_size: blockSize,
    has_minimum: hasMinimum ? 1 : 0,
    in_offset: inOffset,
  };
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, { kind: "int", value }]));
}

const WITHOUT_BLOCKS = { blockSize: 0, hasMinimum: false, inOffset: 0 };

/** The shape of the bytes that a session is handed. */
export function storedShape(weight: Weight): readonly number[] {
  const layout = packedLayoutOf(weight);
  return layout === undefined ? weight.shape : [countPackedBytes(layout)];
}

/** Bytes of a weight as a session is handed it. */
export function countWeightBytes(weight: Weight): number {
  return storedShape(weight).reduce((product, size) => product * size, DATA_TYPE_BYTES[weight.dataType]);
}

/** The weight with only these indices of an axis. A packed matrix keeps the scales that it has as a whole. */
export function takeFromWeight(weight: Weight, axis: number, runs: Packing["inputs"]): Weight {
  const { packing, source } = weight;
  const size = runs.reduce((sum, { begin, end }) => sum + end - begin, 0);
  const shape = weight.shape.with(axis, size);
  if (packing === undefined) return { ...weight, shape, source: { kind: "take", of: source, axis, runs } };
  if (axis === 1) return { ...weight, shape, packing: { ...packing, inputs: runs } };
  const sourceAxis = packing.isTransposed ? 1 : 0;
  return { ...weight, shape, source: { kind: "take", of: source, axis: sourceAxis, runs } };
}
