/** Whole tensors of numbers in float64, as simple as can be: what the interpreter computes with. */

export interface Tensor {
  readonly shape: readonly number[];
  readonly data: Float64Array;
  /** Of a matrix of integers [out, in]: what a step is worth, per output. */
  readonly scales?: Float64Array;
}

/** Product of sizes. */
export function countElements(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** A shape for messages, and to compare shapes by. */
export function describeShape(shape: readonly (number | string)[]): string {
  return `[${shape.join(", ")}]`;
}

/** A tensor whose element at each index is `value(index)`. */
export function tensorOf(shape: readonly number[], value: (index: readonly number[]) => number): Tensor {
  const data = new Float64Array(countElements(shape));
  const index = shape.map(() => 0);
  for (let i = 0; i < data.length; i++) {
    data[i] = value(index);
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      index[axis]! += 1;
      if (index[axis]! < shape[axis]!) break;
      index[axis] = 0;
    }
  }
  return { shape, data };
}

/** Where an element lies; an axis of size 1 is broadcast, missing leading axes too. */
export function offsetOf({ shape }: Tensor, index: readonly number[]): number {
  const skipped = index.length - shape.length;
  let offset = 0;
  for (let axis = 0; axis < shape.length; axis++) {
    const size = shape[axis]!;
    offset = offset * size + (size === 1 ? 0 : index[skipped + axis]!);
  }
  return offset;
}

/** The element at an index, broadcast alike. */
export function at(x: Tensor, index: readonly number[]): number {
  return x.data[offsetOf(x, index)]!;
}

/** The shape that two shapes broadcast to. */
export function broadcastShapes(a: readonly number[], b: readonly number[]): number[] {
  const ndim = Math.max(a.length, b.length);
  return Array.from({ length: ndim }, (_, axis) => {
    const left = a[axis - ndim + a.length] ?? 1;
    const right = b[axis - ndim + b.length] ?? 1;
    if (left !== right && left !== 1 && right !== 1)
      throw new Error(`${describeShape(a)} and ${describeShape(b)} do not broadcast`);
    return left === 1 ? right : left;
  });
}

/** The given indices of one axis, in that order; -1 reads as 0. */
export function take(x: Tensor, axis: number, indices: readonly number[]): Tensor {
  return tensorOf(x.shape.with(axis, indices.length), (index) => {
    const from = indices[index[axis]!]!;
    return from === -1 ? 0 : at(x, index.with(axis, from));
  });
}

/** Tensors behind each other on one axis. */
export function concatenate(parts: readonly Tensor[], axis: number): Tensor {
  const origins = parts.flatMap((part) => Array.from({ length: part.shape[axis]! }, (_, i) => ({ part, i })));
  return tensorOf(parts[0]!.shape.with(axis, origins.length), (index) => {
    const { part, i } = origins[index[axis]!]!;
    return at(part, index.with(axis, i));
  });
}
