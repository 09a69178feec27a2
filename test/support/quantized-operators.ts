/**
 * Quantised products in plain TypeScript, float64: matrices are rounded as native/kernels round them, with the scales of whole
 * rows or blocks, products of 8 bits are integers, and their rows have native/kernels/octaves.h's steps; products of 4 bits are left
 * as they are. Written for the proof that a cut changes nothing, not for its last bits.
 */
import type { GraphNode, Packing } from "../../src/model/graph.ts";
import type { Operator } from "./operators.ts";
import { describeShape, take, tensorOf, type Tensor } from "./tensor.ts";

/** The packed inputs of a matrix: of 8 bits integers and their scales, of 4 bits rounded numbers. */
export function quantize(source: Tensor, { bits, blockSize, isTransposed, inputs }: Packing): Tensor {
  const [rows, columns] = isTransposed ? source.shape.toReversed() : source.shape;
  const matrix = isTransposed ? tensorOf([rows!, columns!], ([n, k]) => source.data[k! * rows! + n!]!) : source;
  const indices = inputs.flatMap(({ begin, end }) => Array.from({ length: end - begin }, (_, i) => begin + i));
  if (bits === 4) return take(roundInBlocks(matrix, blockSize), 1, indices);
  const scales = Float64Array.from({ length: rows! }, (_, n) => largest(rowOf(matrix, n)) / 127);
  const integers = tensorOf([rows!, columns!], ([n, k]) => Math.round(matrix.data[n! * columns! + k!]! / scales[n!]!));
  return { ...take(integers, 1, indices), scales };
}

function roundInBlocks(matrix: Tensor, blockSize: number): Tensor {
  return tensorOf(matrix.shape, ([n, k]) => {
    const row = rowOf(matrix, n!);
    const first = Math.floor(k! / blockSize) * blockSize;
    const scale = largest(row.slice(first, first + blockSize)) / 8 || 1;
    return Math.min(Math.round(row[k!]! / scale), 7) * scale;
  });
}

const rowOf = ({ shape, data }: Tensor, row: number): Float64Array =>
  data.subarray(row * shape.at(-1)!, (row + 1) * shape.at(-1)!);

const largest = (values: Float64Array): number => values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);

/** x [.., in], one step for each of its rows, w [out, in] -> [.., out] */
function multiply(x: Tensor, w: Tensor, steps: readonly number[], node: GraphNode): Tensor {
  const [numOut, numIn] = w.shape as [number, number];
  checkAttributes(node, { in_features: numIn, out_features: numOut });
  if (x.shape.at(-1) !== numIn) throw new Error(`${node.name}: ${describeShape(x.shape)} @ ${describeShape(w.shape)}`);
  const data = new Float64Array(steps.length * numOut);
  steps.forEach((step, row) => {
    const values = rowOf(x, row);
    const factors = w.scales === undefined ? values : values.map((value) => Math.round(value / (step || Infinity)));
    for (let n = 0; n < numOut; n++) {
      data[row * numOut + n] = rowOf(w, n).reduce((sum, weight, k) => sum + weight * factors[k]!, 0);
    }
  });
  return { shape: x.shape.with(-1, numOut), data };
}

function checkAttributes(node: GraphNode, expected: Readonly<Record<string, number>>): void {
  for (const [name, value] of Object.entries(expected)) {
    const attribute = node.attributes[name];
    if (attribute?.kind !== "int" || attribute.value !== value) throw new Error(`${node.name} has no ${name} ${value}`);
  }
}

const NUM_OCTAVES = 64;
const OCTAVE_OF_ONE = 32;

const octaveOf = (value: number): number =>
  Math.min(Math.max(Math.floor(Math.log2(Math.abs(value))) + OCTAVE_OF_ONE, 0), NUM_OCTAVES - 1);

/** How many values of each row lie in each octave. */
function countOctaves(x: Tensor): Tensor {
  const numRows = x.shape.slice(0, -1).reduce((product, size) => product * size, 1);
  const octaves = { shape: x.shape.with(-1, NUM_OCTAVES), data: new Float64Array(numRows * NUM_OCTAVES) };
  for (let row = 0; row < numRows; row++) {
    for (const value of rowOf(x, row)) if (value !== 0) rowOf(octaves, row)[octaveOf(value)]! += 1;
  }
  return octaves;
}

/** The step of each row: all but 1/32 of its values are at most 128 of them. */
function stepsOf(octaves: Tensor): readonly number[] {
  return Array.from({ length: octaves.data.length / NUM_OCTAVES }, (_, row) => {
    const counts = rowOf(octaves, row);
    const top = counts.findLastIndex((count) => count > 0);
    if (top < 1) return 0;
    const numAbove = (octave: number): number => counts.slice(octave + 1).reduce((sum, count) => sum + count, 0);
    let octave = top;
    while (octave > Math.max(top - 7, 1) && numAbove(octave - 1) <= numAbove(-1) / 32) octave--;
    return 2 ** (octave - OCTAVE_OF_ONE - 6);
  });
}

function rescale(sums: Tensor, steps: readonly number[], { scales }: Tensor): Tensor {
  if (scales === undefined) return sums;
  const width = sums.shape.at(-1)!;
  const scaled = sums.data.map((sum, i) => sum * steps[Math.floor(i / width)]! * scales[i % width]!);
  return { shape: sums.shape, data: scaled };
}

export const QUANTIZED_OPERATORS: Readonly<Record<string, Operator>> = {
  QuantizedMatMul: ([x, w], node) => {
    const steps = stepsOf(countOctaves(x!));
    const product = multiply(x!, w!, steps, node);
    return [rescale(product, steps, w!)];
  },
  RowOctaves: ([x]) => [countOctaves(x!)],
  IntegerMatMul: ([x, octaves, w], node) => [multiply(x!, w!, stepsOf(octaves!), node)],
  Rescale: ([sums, octaves, w]) => [rescale(sums!, stepsOf(octaves!), w!)],
};
