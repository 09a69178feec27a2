/**
 * Small graphs for tests of partitioning, drawn value by value; weights are made up, the same for the same name, and inline
 * so that the interpreter can read them. Every value is [B, S, width] unless said otherwise.
 */
import type { Attribute, DataType, Dimension, Graph, GraphNode, GraphValue, Weight } from "../../src/model/graph.ts";
import { countElements } from "./tensor.ts";

type Attributes = Readonly<Record<string, number | readonly number[]>>;

export interface AttentionSketch {
  readonly numHeads: number;
  readonly numKeyValueHeads: number;
  readonly headDim: number;
  readonly packed: boolean;
  readonly bias: boolean;
  readonly rotary: boolean;
  /** A norm for each head of q and k, if they are packed. */
  readonly normed?: boolean;
}

export interface ProductSketch {
  readonly op: "MatMul" | "FusedMatMul" | "Gemm";
  readonly transB: boolean;
  readonly bias: boolean;
}

export const PLAIN: ProductSketch = { op: "FusedMatMul", transB: true, bias: false };

/** Positions in the caches of the sketches. */
export const CACHE_LENGTH = 6;

export class GraphSketch {
  readonly inputs: GraphValue[] = [
    { name: "input_ids", dataType: "int64", shape: ["B", "S"] },
    { name: "seqlens_k", dataType: "int32", shape: ["B"] },
    { name: "total_sequence_length", dataType: "int32", shape: [] },
    { name: "logits_positions", dataType: "int64", shape: ["M"] },
  ];
  readonly outputs: GraphValue[] = [];
  readonly nodes: GraphNode[] = [];
  readonly weights = new Map<string, Weight>();
  #numNames = 0;

  /** A node with one output, whose name is returned; node and output share it. */
  node(opType: string, inputs: readonly string[], attributes: Attributes = {}, name = this.#name(opType)): string {
    this.nodeWith(opType, inputs, [name], attributes, name);
    return name;
  }

  /** A node with these outputs. */
  nodeWith(
    opType: string,
    inputs: readonly string[],
    outputs: readonly string[],
    attributes: Attributes = {},
    name = this.#name(opType),
  ): void {
    this.nodes.push({ name, opType, domain: "", inputs, outputs, attributes: mapAttributes(attributes) });
  }

  #name(opType: string): string {
    return `${opType.toLowerCase()}_${this.#numNames++}`;
  }

  /** A float32 weight with made-up numbers between -0.5 and 0.5. */
  weight(shape: readonly number[], name = this.#name("w")): string {
    let state = [...name].reduce((hash, letter) => (hash * 31 + letter.charCodeAt(0)) % 2147483647, 7);
    const numbers = Float32Array.from({ length: countElements(shape) }, () => {
      state = (state * 48271) % 2147483647;
      return state / 2147483647 - 0.5;
    });
    return this.#inline(name, "float32", shape, new Uint8Array(numbers.buffer));
  }

  /** An int64 constant. */
  integers(values: readonly number[], shape: readonly number[] = [values.length]): string {
    const bytes = new Uint8Array(BigInt64Array.from(values, BigInt).buffer);
    return this.#inline(this.#name("i"), "int64", shape, bytes);
  }

  #inline(name: string, dataType: DataType, shape: readonly number[], bytes: Uint8Array): string {
    this.weights.set(name, { name, dataType, shape, source: { kind: "inline", dataType, shape, bytes } });
    return name;
  }

  output(name: string, shape: readonly Dimension[]): void {
    if (this.outputs.some((output) => output.name === name)) return;
    this.outputs.push({ name, dataType: "float32", shape });
  }

  embed(vocabSize: number, hiddenSize: number, table = this.weight([vocabSize, hiddenSize])): string {
    return this.node("Gather", [table, "input_ids"], { axis: 0 });
  }

  /** x [B, S, numIn] -> [B, S, numOut] */
  product(
    x: string,
    numIn: number,
    numOut: number,
    { op, transB, bias }: ProductSketch = PLAIN,
    name?: string,
  ): string {
    const turned = transB && op !== "MatMul";
    const w = this.weight(turned ? [numOut, numIn] : [numIn, numOut]);
    const attributes: Attributes = op === "MatMul" ? {} : { transB: turned ? 1 : 0 };
    if (!bias) return this.node(op, [x, w], attributes, name);
    const b = this.weight([numOut]);
    if (op === "Gemm") return this.node(op, [x, w, b], attributes, name);
    return this.node("Add", [this.node(op, [x, w], attributes), b], {}, name);
  }

  norm(x: string, width: number, op: "LayerNormalization" | "SimplifiedLayerNormalization"): string {
    const scale = this.weight([width]);
    return this.node(op, op === "LayerNormalization" ? [x, scale, this.weight([width])] : [x, scale], { axis: -1 });
  }

  /** q|k|v -> attention over a cache -> [B, S, numHeads*headDim] */
  attention(x: string, width: number, layer: number, sketch: AttentionSketch, form: ProductSketch = PLAIN): string {
    const { numHeads, numKeyValueHeads, headDim, packed, bias, rotary, normed = false } = sketch;
    const shape = ["B", numKeyValueHeads, CACHE_LENGTH, headDim];
    const cache = ["key", "value"].map((part) => {
      this.inputs.push({ name: `past_key_values.${layer}.${part}`, dataType: "float32", shape });
      this.output(`present.${layer}.${part}`, shape);
      return { past: `past_key_values.${layer}.${part}`, present: `present.${layer}.${part}` };
    });
    const project = (heads: number): string => this.product(x, width, heads * headDim, { ...form, bias });
    const counts = [numHeads, numKeyValueHeads, numKeyValueHeads];
    const projected = packed ? [project(numHeads + 2 * numKeyValueHeads), "", ""] : counts.map(project);
    const qkv = packed && normed ? this.#normaliseHeads(projected[0]!, counts, headDim) : projected;
    const tables = rotary ? [this.weight([CACHE_LENGTH, headDim / 2]), this.weight([CACHE_LENGTH, headDim / 2])] : [];
    const inputs = [...qkv, ...cache.map(({ past }) => past), "seqlens_k", "total_sequence_length", ...tables];
    const attributes = { num_heads: numHeads, kv_num_heads: numKeyValueHeads, do_rotary: rotary ? 1 : 0 };
    const output = this.#name("attention");
    const outputs = [output, ...cache.map(({ present }) => present)];
    this.nodeWith("GroupQueryAttention", inputs, outputs, attributes, output);
    return output;
  }

  /** q|k|v [B, S, (N+2K)*H] -> q, k, v apart, each head of q and k normalised. */
  #normaliseHeads(qkv: string, counts: readonly number[], headDim: number): string[] {
    const numHeads = counts.reduce((sum, count) => sum + count, 0);
    const apart = this.node("Reshape", [qkv, this.integers([0, 0, numHeads, headDim])]);
    const parts = counts.map(() => this.#name("part"));
    this.nodeWith("Split", [apart, this.integers(counts)], parts, { axis: 2 });
    return parts.map((part, index) => {
      const heads = index === 2 ? part : this.norm(part, headDim, "SimplifiedLayerNormalization");
      return this.node("Reshape", [heads, this.integers([0, 0, counts[index]! * headDim])]);
    });
  }

  /** The last positions' logits [B, M, vocabSize]. */
  head(x: string, width: number, vocabSize: number, form: ProductSketch = PLAIN): void {
    const wanted = this.node("Gather", [x, "logits_positions"], { axis: 1 });
    this.product(wanted, width, vocabSize, form, "logits");
    this.output("logits", ["B", "M", vocabSize]);
  }

  build(): Graph {
    return { name: "sketch", inputs: this.inputs, outputs: this.outputs, nodes: this.nodes, weights: this.weights };
  }
}

function mapAttributes(attributes: Attributes): Record<string, Attribute> {
  return Object.fromEntries(
    Object.entries(attributes).map(([name, value]): [string, Attribute] => [
      name,
      typeof value === "number" ? { kind: "int", value } : { kind: "ints", value },
    ]),
  );
}
