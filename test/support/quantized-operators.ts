/**
 * Quantised products in plain TypeScript, float64: matrices are rounded as native/kernels round them, with the scales of whole
 * rows or blocks, and products of 8 bits are integers. Written for the proof that a cut changes nothing, not for its last bits.
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

/** x [.., in], one maximum for each of its rows, w [out, in] -> [.., out] */
function multiply(x: Tensor, w: Tensor, maxima: Float64Array, node: GraphNode): Tensor {
  const [numOut, numIn] = w.shape as [number, number];
  checkAttributes(node, { in_features: numIn, out_features: numOut });
  if (x.shape.at(-1) !== numIn) throw new Error(`${node.name}: ${describeShape(x.shape)} @ ${describeShape(w.shape)}`);
  const data = new Float64Array(maxima.length * numOut);
  maxima.forEach((maximum, row) => {
    const values = rowOf(x, row);
    const factors = w.scales === undefined ? values : values.map((value) => Math.round((value * 127) / (maximum || 1)));
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

function rowMaxima(x: Tensor): Float64Array {
  const width = x.shape.at(-1)!;
  const numRows = x.shape.slice(0, -1).reduce((product, size) => product * size, 1);
  return Float64Array.from({ length: numRows }, (_, row) => largest(x.data.subarray(row * width, (row + 1) * width)));
}

function rescale(sums: Tensor, maxima: Float64Array, { scales }: Tensor): Tensor {
  const width = sums.shape.at(-1)!;
  const scaled = sums.data.map((sum, i) => sum * (maxima[Math.floor(i / width)]! / 127) * scales![i % width]!);
  return { shape: sums.shape, data: scaled };
}

export const QUANTIZED_OPERATORS: Readonly<Record<string, Operator>> = {
  QuantizedMatMul: ([x, w], node) => {
    const maxima = rowMaxima(x!);
    const product = multiply(x!, w!, maxima, node);
    return [w!.scales === undefined ? product : rescale(product, maxima, w!)];
  },
  RowMaximum: ([x]) => [{ shape: x!.shape.with(-1, 1), data: rowMaxima(x!) }],
  IntegerMatMul: ([x, maximum, w], node) => [multiply(x!, w!, maximum!.data, node)],
  Rescale: ([sums, maximum, w]) => [rescale(sums!, maximum!.data, w!)],
};
