/**
 * Random small graphs: a token embedding, a few random steps on the running value, perhaps a head. Sizes are awkward on
 * purpose (primes, 1, fewer than ranks), and any earlier value of the right width may be added again.
 */
import fc from "fast-check";
import type { Graph } from "../../src/model/graph.ts";
import { GraphSketch, type AttentionSketch, type ProductSketch } from "./graph-sketch.ts";

/** The value under way and how wide its last axis is. */
interface Wire {
  readonly name: string;
  readonly width: number;
}

type Step = (sketch: GraphSketch, wires: readonly Wire[], index: number) => Wire;

const size = fc.constantFrom(1, 2, 3, 4, 5, 7, 8, 12);

const productForm: fc.Arbitrary<ProductSketch> = fc.record({
  op: fc.constantFrom("MatMul", "FusedMatMul", "Gemm"),
  transB: fc.boolean(),
  bias: fc.boolean(),
});

const product = fc.tuple(size, productForm).map(([numOut, form]): Step => (sketch, wires) => {
  const { name, width } = wires.at(-1)!;
  return { name: sketch.product(name, width, numOut, form), width: numOut };
});

const activation = fc
  .constantFrom("Relu", "Gelu", "FastGelu", "QuickGelu", "Sigmoid", "Tanh", "Erf", "Identity", "Cast", "Neg", "Abs")
  .map((op): Step => (sketch, wires) => ({ ...wires.at(-1)!, name: sketch.node(op, [wires.at(-1)!.name]) }));

const scale = fc.tuple(fc.constantFrom("Mul", "Add", "Sub"), fc.boolean()).map(([op, one]): Step => (sketch, wires) => {
  const { name, width } = wires.at(-1)!;
  return { name: sketch.node(op, [name, sketch.weight([one ? 1 : width])]), width };
});

const norm = fc
  .constantFrom("LayerNormalization", "SimplifiedLayerNormalization")
  .map((op): Step => (sketch, wires) => {
    const { name, width } = wires.at(-1)!;
    return { name: sketch.norm(name, width, op), width };
  });

const softmax: fc.Arbitrary<Step> = fc.constant((sketch, wires) => {
  return { ...wires.at(-1)!, name: sketch.node("Softmax", [wires.at(-1)!.name], { axis: -1 }) };
});

/** With any earlier value of the same width, itself included. */
const combine = fc.tuple(fc.constantFrom("Add", "Mul", "Sub"), fc.nat()).map(([op, pick]): Step => (sketch, wires) => {
  const { name, width } = wires.at(-1)!;
  const alike = wires.filter((wire) => wire.width === width);
  return { name: sketch.node(op, [name, alike[pick % alike.length]!.name]), width };
});

const skipNorm: fc.Arbitrary<Step> = fc.nat().map((pick): Step => (sketch, wires, index) => {
  const { name, width } = wires.at(-1)!;
  const alike = wires.filter((wire) => wire.width === width);
  const outputs = [`skip_${index}`, "", "", `residual_${index}`];
  const inputs = [name, alike[pick % alike.length]!.name, sketch.weight([width])];
  sketch.nodeWith("SkipSimplifiedLayerNormalization", inputs, outputs);
  return { name: pick % 2 === 0 ? outputs[0]! : outputs[3]!, width };
});

/** silu(gate) * up -> down, with gate and up as two products or as one that is split. */
const gatedMlp = fc
  .tuple(size, fc.boolean(), productForm)
  .map(([numFeatures, packed, form]): Step => (sketch, wires, index) => {
    const { name, width } = wires.at(-1)!;
    const halves = [`gate_${index}`, `up_${index}`];
    if (packed) {
      const both = sketch.product(name, width, 2 * numFeatures, form);
      sketch.nodeWith("Split", [both, sketch.integers([numFeatures, numFeatures])], halves, { axis: 2 });
    } else {
      for (const half of halves) sketch.product(name, width, numFeatures, form, half);
    }
    const gated = sketch.node("Mul", [sketch.node("QuickGelu", [halves[0]!]), halves[1]!]);
    return { name: sketch.product(gated, numFeatures, width, form), width };
  });

const splitAndConcat = fc.tuple(fc.integer({ min: 1, max: 3 }), fc.boolean()).map(([first, swap]): Step => {
  return (sketch, wires, index) => {
    const { name, width } = wires.at(-1)!;
    if (first >= width) return wires.at(-1)!;
    const parts = [`part_${index}_0`, `part_${index}_1`];
    sketch.nodeWith("Split", [name, sketch.integers([first, width - first])], parts, { axis: 2 });
    return { name: sketch.node("Concat", swap ? parts.toReversed() : parts, { axis: 2 }), width };
  };
});

const heads = fc
  .tuple(
    fc.constantFrom(1, 2, 3, 4),
    fc.constantFrom(1, 2, 3),
    fc.constantFrom(2, 4),
    fc.boolean(),
    fc.boolean(),
    fc.boolean(),
    fc.boolean(),
  )
  .map(([numKeyValueHeads, groupSize, headDim, packed, bias, rotary, normed]): AttentionSketch => {
    return { numHeads: numKeyValueHeads * groupSize, numKeyValueHeads, headDim, packed, bias, rotary, normed };
  });

const attention = fc
  .tuple(heads, productForm, fc.boolean())
  .map(([sizes, form, closes]): Step => (sketch, wires, index) => {
    const { name, width } = wires.at(-1)!;
    const attended = sketch.attention(name, width, index, sizes, form);
    const wide = sizes.numHeads * sizes.headDim;
    return closes ? { name: sketch.product(attended, wide, width, form), width } : { name: attended, width: wide };
  });

/** Attention as exporters write it out: heads by Reshape and Transpose, scores by MatMul and Softmax. */
const writtenOut = fc
  .tuple(fc.integer({ min: 1, max: 4 }), productForm)
  .map(([numHeads, form]): Step => (sketch, wires) => {
    const { name, width } = wires.at(-1)!;
    const headDim = 2;
    const apart = (perm: readonly number[]): string => {
      const projected = sketch.product(name, width, numHeads * headDim, form);
      const shaped = sketch.node("Reshape", [projected, sketch.integers([0, 0, numHeads, headDim])]);
      return sketch.node("Transpose", [sketch.norm(shaped, headDim, "SimplifiedLayerNormalization")], { perm });
    };
    const scores = sketch.node("MatMul", [apart([0, 2, 1, 3]), apart([0, 2, 3, 1])]);
    const weighted = sketch.node("MatMul", [sketch.node("Softmax", [scores], { axis: -1 }), apart([0, 2, 1, 3])]);
    const turned = sketch.node("Transpose", [weighted], { perm: [0, 2, 1, 3] });
    const joined = sketch.node("Reshape", [turned, sketch.integers([0, 0, numHeads * headDim])]);
    return { name: sketch.product(joined, numHeads * headDim, width, form), width };
  });

/** The value under way becomes a graph output too. */
const output: fc.Arbitrary<Step> = fc.constant((sketch, wires) => {
  const { name, width } = wires.at(-1)!;
  sketch.output(name, ["B", "S", width]);
  return wires.at(-1)!;
});

const step = fc.oneof(
  { arbitrary: product, weight: 3 },
  { arbitrary: activation, weight: 2 },
  { arbitrary: gatedMlp, weight: 2 },
  { arbitrary: attention, weight: 2 },
  { arbitrary: combine, weight: 2 },
  scale,
  norm,
  skipNorm,
  softmax,
  splitAndConcat,
  writtenOut,
  output,
);

/** The graphs. Their vocabulary is 7; the head's is its own, and may be smaller than the world. */
export const arbitraryGraph: fc.Arbitrary<Graph> = fc
  .record({ width: size, steps: fc.array(step, { minLength: 1, maxLength: 8 }), headSize: fc.option(size) })
  .map(({ width, steps, headSize }) => {
    const sketch = new GraphSketch();
    const wires: Wire[] = [{ name: sketch.embed(7, width), width }];
    steps.forEach((apply, index) => wires.push(apply(sketch, wires, index)));
    const last = wires.at(-1)!;
    if (headSize !== null) sketch.head(last.name, last.width, headSize);
    else sketch.output(last.name, ["B", "S", last.width]);
    return sketch.build();
  });
