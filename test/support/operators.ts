/**
 * The ops of our graphs in plain TypeScript, float64, written from their specifications: a reference that has no device.
 * @see https://onnx.ai/onnx/operators and onnxruntime's docs/ContribOperators.md
 */
import type { GraphNode } from "../../src/model/graph.ts";
import {
  at,
  broadcastShapes,
  concatenate,
  countElements,
  describeShape,
  offsetOf,
  take,
  tensorOf,
  type Tensor,
} from "./tensor.ts";

export type Operator = (inputs: readonly (Tensor | undefined)[], node: GraphNode) => readonly Tensor[];

function number(node: GraphNode, name: string, otherwise: number): number {
  const attribute = node.attributes[name];
  return attribute?.kind === "int" || attribute?.kind === "float" ? attribute.value : otherwise;
}

const unary =
  (f: (x: number, node: GraphNode) => number): Operator =>
  ([x], node) => [{ shape: x!.shape, data: x!.data.map((value) => f(value, node)) }];

const binary =
  (f: (a: number, b: number) => number): Operator =>
  ([a, b]) => [tensorOf(broadcastShapes(a!.shape, b!.shape), (index) => f(at(a!, index), at(b!, index)))];

/** Abramowitz and Stegun 7.1.26: good to 1.5e-7, and the same on every rank. */
function erf(x: number): number {
  const t = 1 / (1 + 0.3275911 * Math.abs(x));
  const polynomial = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  return Math.sign(x) * (1 - polynomial * Math.exp(-x * x));
}

const gelu = (x: number): number => (x / 2) * (1 + erf(x / Math.SQRT2));
const fastGelu = (x: number): number => (x / 2) * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));

/** The attribute `axis`, counted from the front. */
function axisOf(node: GraphNode, { shape }: Tensor): number {
  const axis = number(node, "axis", 0);
  return axis < 0 ? axis + shape.length : axis;
}

/** x [.., m, k] @ w [k, n] or [.., k, n], each perhaps transposed; alpha scales. */
const product: Operator = ([a, b, bias], node) => {
  const transB = number(node, "transB", 0) === 1;
  const left = a!;
  const right = b!;
  const k = left.shape.at(-1)!;
  const n = right.shape.at(transB ? -2 : -1)!;
  if (right.shape.at(transB ? -1 : -2) !== k)
    throw new Error(`${describeShape(left.shape)} @ ${describeShape(right.shape)} in ${node.name}`);
  const batch = broadcastShapes(left.shape.slice(0, -2), right.shape.slice(0, -2));
  const alpha = number(node, "alpha", 1);
  const [step, columnStep] = transB ? [1, k] : [n, 1];
  const result = tensorOf([...batch, left.shape.at(-2)!, n], (index) => {
    const lead = index.slice(0, -2);
    const row = offsetOf(left, [...lead, index.at(-2)!, 0]);
    const column = offsetOf(right, [...lead, 0, 0]) + index.at(-1)! * columnStep;
    let sum = 0;
    for (let i = 0; i < k; i++) sum += left.data[row + i]! * right.data[column + i * step]!;
    return sum * alpha;
  });
  const beta = number(node, "beta", 1);
  return bias === undefined
    ? [result]
    : [tensorOf(result.shape, (index) => at(result, index) + beta * at(bias, index))];
};

/** Each row along the last axis replaced by `f(row)`. */
function overRows(x: Tensor, f: (row: Float64Array) => Float64Array): Tensor {
  const width = x.shape.at(-1)!;
  const data = new Float64Array(x.data.length);
  for (let begin = 0; begin < data.length; begin += width) data.set(f(x.data.slice(begin, begin + width)), begin);
  return { shape: x.shape, data };
}

function layerNorm(x: Tensor, scale: Tensor, bias: Tensor | undefined, node: GraphNode, centre: boolean): Tensor {
  const epsilon = number(node, "epsilon", 1e-5);
  return overRows(x, (row) => {
    const mean = centre ? row.reduce((sum, value) => sum + value, 0) / row.length : 0;
    const variance = row.reduce((sum, value) => sum + (value - mean) ** 2, 0) / row.length;
    return row.map(
      (value, i) => ((value - mean) / Math.sqrt(variance + epsilon)) * scale.data[i]! + (bias?.data[i] ?? 0),
    );
  });
}

const add = (a: Tensor, b: Tensor | undefined): Tensor =>
  b === undefined ? a : tensorOf(broadcastShapes(a.shape, b.shape), (index) => at(a, index) + at(b, index));

const softmax: Operator = ([x]) => [
  overRows(x!, (row) => {
    const top = Math.max(...row);
    const exponentials = row.map((value) => Math.exp(value - top));
    const sum = exponentials.reduce((total, value) => total + value, 0);
    return exponentials.map((value) => value / sum);
  }),
];

/** Turns one head's vector of H values at a position; halves, not interleaved. */
function rotate(head: number[], position: number, cos: Tensor, sin: Tensor): number[] {
  const half = head.length / 2;
  return head.map((value, i) => {
    const c = at(cos, [position, i % half]);
    const s = at(sin, [position, i % half]);
    return i < half ? value * c - head[i + half]! * s : value * c + head[i - half]! * s;
  });
}

/**
 * GroupQueryAttention over a cache of T positions of which seqlens_k + 1 are filled after this step.
 * query [B, S, (N+2K)*H] packed, or query, key, value apart.
 */
const groupQueryAttention: Operator = (inputs, node) => {
  const [query, key, value, pastKey, pastValue, seqlens, , cos, sin] = inputs;
  const numHeads = number(node, "num_heads", 0);
  const numKeyValueHeads = number(node, "kv_num_heads", 0);
  const groupSize = number(node, "group_size", numHeads / numKeyValueHeads); // on a rank, of the whole model
  const [batch, numNew, width] = query!.shape as [number, number, number];
  const headDim = width / (key === undefined ? numHeads + 2 * numKeyValueHeads : numHeads);
  if (!Number.isInteger(headDim)) throw new Error(`${node.name}: ${width} is no multiple of the heads`);
  const scale = number(node, "scale", 1 / Math.sqrt(headDim));
  const cap = number(node, "softcap", 0);
  const window = number(node, "local_window_size", Infinity);
  const headOf = (x: Tensor, b: number, s: number, head: number): number[] =>
    Array.from({ length: headDim }, (_, h) => at(x, [b, s, head * headDim + h]));
  const turn = (head: number[], position: number): number[] =>
    number(node, "do_rotary", 0) === 1 ? rotate(head, position, cos!, sin!) : head;

  const present = [pastKey!, pastValue!].map(({ shape, data }) => ({ shape, data: data.slice() }));
  const out = {
    shape: [batch, numNew, numHeads * headDim],
    data: new Float64Array(batch * numNew * numHeads * headDim),
  };
  for (let b = 0; b < batch; b++) {
    const firstNew = seqlens!.data[b]! + 1 - numNew;
    const cacheOffset = (head: number, position: number): number =>
      ((b * numKeyValueHeads + head) * pastKey!.shape[2]! + position) * headDim;
    for (let s = 0; s < numNew; s++) {
      for (let head = 0; head < numKeyValueHeads; head++) {
        const k = key === undefined ? headOf(query!, b, s, numHeads + head) : headOf(key, b, s, head);
        const v =
          key === undefined ? headOf(query!, b, s, numHeads + numKeyValueHeads + head) : headOf(value!, b, s, head);
        present[0]!.data.set(turn(k, firstNew + s), cacheOffset(head, firstNew + s));
        present[1]!.data.set(v, cacheOffset(head, firstNew + s));
      }
    }
    for (let s = 0; s < numNew; s++) {
      for (let head = 0; head < numHeads; head++) {
        const q = turn(headOf(query!, b, s, head), firstNew + s);
        const shared = Math.floor((number(node, "first_head", 0) + head) / groupSize);
        const numSeen = Math.min(firstNew + s + 1, window);
        const rows = (x: { data: Float64Array }): Float64Array[] =>
          Array.from({ length: numSeen }, (_, i) => {
            const begin = cacheOffset(shared, firstNew + s + 1 - numSeen + i);
            return x.data.slice(begin, begin + headDim);
          });
        out.data.set(
          attendOne(q, rows(present[0]!), rows(present[1]!), scale, cap),
          ((b * numNew + s) * numHeads + head) * headDim,
        );
      }
    }
  }
  return [out, ...present];
};

/** @param cap of the scores; 0: none */
function attendOne(q: number[], keys: Float64Array[], values: Float64Array[], scale: number, cap = 0): number[] {
  const products = keys.map((k) => scale * k.reduce((sum, value, h) => sum + value * q[h]!, 0));
  const scores = cap === 0 ? products : products.map((score) => cap * Math.tanh(score / cap));
  const top = Math.max(...scores);
  const weights = scores.map((score) => Math.exp(score - top));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return q.map((_, h) => weights.reduce((sum, weight, p) => sum + weight * values[p]![h]!, 0) / total);
}

/** MultiHeadAttention without cache or mask: query, key, value [B, S, N*H]. */
const multiHeadAttention: Operator = ([query, key, value, bias], node) => {
  const numHeads = number(node, "num_heads", 0);
  const [batch, numNew, width] = query!.shape as [number, number, number];
  const headDim = width / numHeads;
  const part = (i: number): Tensor | undefined =>
    bias &&
    take(
      bias,
      0,
      Array.from({ length: width }, (_, j) => i * width + j),
    );
  const [q, k, v] = [add(query!, part(0)), add(key!, part(1)), add(value!, part(2))];
  const headOf = (x: Tensor, b: number, s: number, n: number): number[] =>
    Array.from({ length: headDim }, (_, h) => at(x, [b, s, n * headDim + h]));
  const data = new Float64Array(batch * numNew * width);
  for (let b = 0; b < batch; b++) {
    for (let n = 0; n < numHeads; n++) {
      const rows = (x: Tensor): Float64Array[] =>
        Array.from({ length: x.shape[1]! }, (_, s) => Float64Array.from(headOf(x, b, s, n)));
      for (let s = 0; s < numNew; s++) {
        const result = attendOne(headOf(q, b, s, n), rows(k), rows(v), 1 / Math.sqrt(headDim));
        data.set(result, (b * numNew + s) * width + n * headDim);
      }
    }
  }
  return [{ shape: query!.shape, data }];
};

/** RotaryEmbedding of [B, S, N*H] by positions [B, S]. */
const rotaryEmbedding: Operator = ([x, positions, cos, sin], node) => {
  const headDim = 2 * cos!.shape[1]!;
  const [batch, numNew, width] = x!.shape as [number, number, number];
  if (number(node, "num_heads", width / headDim) * headDim !== width) throw new Error(`${node.name}: wrong num_heads`);
  return [
    tensorOf([batch, numNew, width], ([b, s, i]) => {
      const begin = Math.floor(i! / headDim) * headDim;
      const head = Array.from({ length: headDim }, (_, h) => at(x!, [b!, s!, begin + h]));
      return rotate(head, at(positions!, [b!, s!]), cos!, sin!)[i! - begin]!;
    }),
  ];
};

const gather: Operator = ([data, indices], node) => {
  const axis = axisOf(node, data!);
  const shape = [...data!.shape.slice(0, axis), ...indices!.shape, ...data!.shape.slice(axis + 1)];
  const end = axis + indices!.shape.length;
  return [
    tensorOf(shape, (index) =>
      at(data!, [...index.slice(0, axis), at(indices!, index.slice(axis, end)), ...index.slice(end)]),
    ),
  ];
};

const split: Operator = ([x, sizes], node) => {
  const axis = axisOf(node, x!);
  const total = x!.shape[axis]!;
  const size = Math.ceil(total / node.outputs.length);
  const chosen = sizes ? [...sizes.data] : node.outputs.map((_, i) => Math.min(size, total - i * size));
  if (chosen.reduce((a, b) => a + b, 0) !== total)
    throw new Error(`${node.name}: ${describeShape(chosen)} of ${total}`);
  let begin = 0;
  return chosen.map((count) => {
    const part = take(
      x!,
      axis,
      Array.from({ length: count }, (_, i) => begin + i),
    );
    begin += count;
    return part;
  });
};

const reshape: Operator = ([x, request], node) => {
  const shape = [...request!.data].map((size, i) => (size === 0 ? x!.shape[i]! : size));
  const open = shape.indexOf(-1);
  if (open !== -1) shape[open] = x!.data.length / -countElements(shape);
  if (countElements(shape) !== x!.data.length)
    throw new Error(`${node.name}: ${describeShape(x!.shape)} to ${describeShape(shape)}`);
  return [{ shape, data: x!.data }];
};

const transpose: Operator = ([x], node) => {
  const perm = node.attributes.perm;
  const axes = perm?.kind === "ints" ? perm.value : x!.shape.map((_, i) => x!.shape.length - 1 - i);
  const shape = axes.map((axis) => x!.shape[axis]!);
  return [
    tensorOf(shape, (index) =>
      at(
        x!,
        x!.shape.map((_, axis) => index[axes.indexOf(axis)]!),
      ),
    ),
  ];
};

const slice: Operator = ([x, starts, ends, axes]) => {
  let result = x!;
  axes!.data.forEach((axis, i) => {
    const end = Math.min(ends!.data[i]!, result.shape[axis]!);
    result = take(
      result,
      axis,
      Array.from({ length: end - starts!.data[i]! }, (_, j) => starts!.data[i]! + j),
    );
  });
  return [result];
};

/** Only what our graphs say by it: the sizes [start, end) of a shape. */
const shapeOf: Operator = ([x], node) => {
  const sizes = x!.shape.slice(number(node, "start", 0), number(node, "end", x!.shape.length));
  return [{ shape: [sizes.length], data: Float64Array.from(sizes) }];
};

export const OPERATORS: Readonly<Record<string, Operator>> = {
  MatMul: product,
  FusedMatMul: product,
  Gemm: product,
  Add: binary((a, b) => a + b),
  Sub: binary((a, b) => a - b),
  Mul: binary((a, b) => a * b),
  Div: binary((a, b) => a / b),
  Pow: binary((a, b) => a ** b),
  Identity: unary((x) => x),
  Cast: unary((x) => x),
  Neg: unary((x) => -x),
  Abs: unary(Math.abs),
  Sqrt: unary(Math.sqrt),
  Erf: unary(erf),
  Relu: unary((x) => Math.max(x, 0)),
  Sigmoid: unary((x) => 1 / (1 + Math.exp(-x))),
  Tanh: unary(Math.tanh),
  Gelu: unary(gelu),
  FastGelu: unary(fastGelu),
  BiasGelu: ([x, bias]) => [{ ...add(x!, bias), data: add(x!, bias).data.map(gelu) }],
  QuickGelu: unary((x, node) => x / (1 + Math.exp(-number(node, "alpha", 1.702) * x))),
  Softmax: softmax,
  LayerNormalization: ([x, scale, bias], node) => [layerNorm(x!, scale!, bias, node, true)],
  SimplifiedLayerNormalization: ([x, scale], node) => [layerNorm(x!, scale!, undefined, node, false)],
  SkipLayerNormalization: ([x, skip, scale, shift, bias], node) => {
    const sum = add(add(x!, skip), bias);
    return [layerNorm(sum, scale!, shift, node, true), sum, sum, sum];
  },
  SkipSimplifiedLayerNormalization: ([x, skip, scale, bias], node) => {
    const sum = add(add(x!, skip), bias);
    return [layerNorm(sum, scale!, undefined, node, false), sum, sum, sum];
  },
  GroupQueryAttention: groupQueryAttention,
  MultiHeadAttention: multiHeadAttention,
  RotaryEmbedding: rotaryEmbedding,
  Gather: gather,
  Split: split,
  Concat: (inputs, node) => [concatenate(inputs as Tensor[], axisOf(node, inputs[0]!))],
  Reshape: reshape,
  Transpose: transpose,
  Slice: slice,
  Shape: shapeOf,
  ConstantOfShape: ([sizes]) => [tensorOf([...sizes!.data], () => 0)],
};
