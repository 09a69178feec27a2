/**
 * The shapes of a graph's values, as far as weights, graph inputs and constants tell: sizes, or the letters of sizes that
 * only a step knows. Rules follow an axis by them; a value whose shape stays unknown is not cut.
 */
import type { Dimension, Graph, GraphNode } from "../model/graph.ts";
import { readIntegers } from "../model/constants.ts";
import { intAttribute, normalizeAxis } from "./rule.ts";

export type Shape = readonly Dimension[];
type Known = Shape | undefined;

/** Numbers that native/kernels/octaves.h counts per row. */
const NUM_OCTAVES = 64;

/** What a shape rule sees: the inputs' shapes, and the numbers of integer constants. */
interface Sight {
  readonly node: GraphNode;
  readonly shapes: readonly Known[];
  readonly values: readonly (readonly number[] | undefined)[];
}

/** The shape of every value and weight that is known. Keyed by name. */
export function inferShapes(graph: Graph): ReadonlyMap<string, Shape> {
  const shapes = new Map<string, Shape>();
  for (const { name, shape } of graph.inputs) shapes.set(name, shape);
  for (const { name, shape } of graph.weights.values()) shapes.set(name, shape);
  for (const node of graph.nodes) {
    const outputs = SHAPES[node.opType]?.({
      node,
      shapes: node.inputs.map((name) => shapes.get(name)),
      values: node.inputs.map((name) => readIntegers(graph.weights.get(name))),
    });
    node.outputs.forEach((name, i) => {
      const shape = outputs?.[i];
      if (name !== "" && shape !== undefined) shapes.set(name, shape);
    });
  }
  return shapes;
}

const likeFirst = ({ node, shapes }: Sight): Known[] => node.outputs.map(() => shapes[0]);

function broadcast({ shapes }: Sight): Known[] {
  if (!shapes.every((shape) => shape !== undefined)) return [];
  const ndim = Math.max(...shapes.map((shape) => shape.length));
  const sizes = Array.from({ length: ndim }, (_, axis) => {
    const candidates = shapes.map((shape) => shape[axis - ndim + shape.length] ?? 1);
    return candidates.find((size) => typeof size === "number" && size !== 1) ?? candidates.find((s) => s !== 1) ?? 1;
  });
  return [sizes];
}

function product({ node, shapes: [a, b] }: Sight): Known[] {
  if (a === undefined || b === undefined || b.length < 2 || intAttribute(node, "transA", 0) === 1) return [];
  const numOut = b.at(intAttribute(node, "transB", 0) === 1 ? -2 : -1)!;
  return [[...(a.length >= b.length ? a : b).slice(0, -2), a.at(-2)!, numOut]];
}

/** x [.., in] and a packed matrix, [out, in] in numbers, as the last input. */
function quantizedProduct({ shapes }: Sight): Known[] {
  const [x, w] = [shapes[0], shapes.at(-1)];
  return x === undefined || w === undefined ? [] : [x.with(-1, w[0]!)];
}

function gather({ node, shapes: [data, indices] }: Sight): Known[] {
  if (data === undefined || indices === undefined) return [];
  const axis = normalizeAxis(intAttribute(node, "axis", 0), data.length);
  return [[...data.slice(0, axis), ...indices, ...data.slice(axis + 1)]];
}

function split({ node, shapes: [x], values }: Sight): Known[] {
  if (x === undefined) return [];
  const axis = normalizeAxis(intAttribute(node, "axis", 0), x.length);
  const sizes = values[1] ?? evenSizes(Number(x[axis]), node.outputs.length);
  return sizes.map((size) => x.with(axis, size));
}

/** The sizes of a Split that gives none: equal parts, the last one smaller if it does not come out even. */
export function evenSizes(total: number, numOutputs: number): number[] {
  const size = Math.ceil(total / numOutputs);
  return Array.from({ length: numOutputs }, (_, i) => Math.min(size, total - i * size));
}

function concat({ node, shapes }: Sight): Known[] {
  const [first] = shapes;
  if (first === undefined || !shapes.every((shape) => shape !== undefined)) return [];
  const axis = normalizeAxis(intAttribute(node, "axis", 0), first.length);
  return [first.with(axis, shapes.map((shape) => shape[axis]!).reduce(addSizes))];
}

function addSizes(a: Dimension, b: Dimension): Dimension {
  return typeof a === "number" && typeof b === "number" ? a + b : `${a}+${b}`;
}

/** What Reshape makes of `from`: 0 copies a size, -1 is what is left. Undefined when letters do not cancel. */
export function reshapeTo(from: Shape, request: readonly number[]): Known {
  const to: Dimension[] = request.map((size, i) => (size === 0 ? (from[i] ?? 1) : size));
  const open = to.indexOf(-1);
  if (open === -1) return to;
  const lettersLeft = [...from.filter((size) => typeof size === "string")];
  let numElements = 1;
  for (const size of from) if (typeof size === "number") numElements *= size;
  for (const [i, size] of to.entries()) {
    if (i === open) continue;
    if (typeof size === "number") numElements /= size;
    else lettersLeft.splice(lettersLeft.indexOf(size), 1);
  }
  if (lettersLeft.length === 0) return to.with(open, numElements);
  return lettersLeft.length === 1 && numElements === 1 ? to.with(open, lettersLeft[0]!) : undefined;
}

function reshape({ shapes: [x], values: [, request] }: Sight): Known[] {
  return x === undefined || request === undefined ? [] : [reshapeTo(x, request)];
}

function transpose({ node, shapes: [x] }: Sight): Known[] {
  const perm = node.attributes.perm;
  if (x === undefined) return [];
  return [perm?.kind === "ints" ? perm.value.map((axis) => x[axis]!) : x.toReversed()];
}

function slice({ node, shapes: [x], values: [, starts, ends, axes, steps] }: Sight): Known[] {
  if (x === undefined || axes === undefined) return [];
  const sizes = [...x];
  axes.forEach((given, i) => {
    const axis = normalizeAxis(given, x.length);
    const size = x[axis];
    const [start, end] = [starts?.[i], ends?.[i]];
    const isKnown = typeof size === "number" && start !== undefined && end !== undefined && (steps?.[i] ?? 1) === 1;
    sizes[axis] = isKnown ? sliceSize(size, start, end) : `${node.outputs[0]}[${axis}]`;
  });
  return [sizes];
}

/** Bounds may count from the end, or lie beyond it. */
function sliceSize(size: number, start: number, end: number): number {
  const [begin, stop] = [start, end].map((bound) => Math.min(Math.max(bound < 0 ? bound + size : bound, 0), size));
  return Math.max(stop! - begin!, 0);
}

/** Attention gives [B, S, N*H]; present is the same memory as past. Packed q|k|v is wider than the result. */
function attention({ node, shapes }: Sight): Known[] {
  const [query, key] = shapes;
  const numHeads = intAttribute(node, "num_heads", 0);
  const numKeyValueHeads = intAttribute(node, "kv_num_heads", numHeads);
  if (query === undefined || typeof query[2] !== "number") return [];
  const width = key === undefined ? (query[2] / (numHeads + 2 * numKeyValueHeads)) * numHeads : query[2];
  return [
    query.with(2, width),
    shapes[node.opType === "MultiHeadAttention" ? 6 : 3],
    shapes[node.opType === "MultiHeadAttention" ? 7 : 4],
  ];
}

// prettier-ignore
const SHAPES: Readonly<Record<string, (sight: Sight) => Known[]>> = {
  MatMul: product, FusedMatMul: product, Gemm: product,
  QuantizedMatMul: quantizedProduct, IntegerMatMul: quantizedProduct, Rescale: quantizedProduct,
  RowOctaves: ({ shapes: [x] }) => [x?.with(-1, NUM_OCTAVES)],
  Add: broadcast, Sub: broadcast, Mul: broadcast, Div: broadcast, Pow: broadcast, Where: broadcast, BiasGelu: broadcast,
  Identity: likeFirst, Sqrt: likeFirst, Neg: likeFirst, Cast: likeFirst, Clip: likeFirst, Exp: likeFirst, Erf: likeFirst,
  Relu: likeFirst, Sigmoid: likeFirst, Tanh: likeFirst, Gelu: likeFirst, FastGelu: likeFirst, QuickGelu: likeFirst,
  LayerNormalization: likeFirst, SimplifiedLayerNormalization: likeFirst, Softmax: likeFirst,
  SkipLayerNormalization: likeFirst, SkipSimplifiedLayerNormalization: likeFirst, RotaryEmbedding: likeFirst,
  GroupQueryAttention: attention, MultiHeadAttention: attention,
  Reshape: reshape, Transpose: transpose, Split: split, Concat: concat, Slice: slice, Gather: gather,
};
