/**
 * Builds the graph of a decoder: families call these helpers in the order in which a token flows, and get value names back.
 * What all decoders share (inputs, cache tensors, head) is said here once. Letters as in docs: B batch, S new tokens,
 * M positions with logits, T cache length, D hidden, N query heads, K key/value heads, H head dim, V vocabulary.
 */
import { InternalError } from "../errors.ts";
import type { Attribute, DataType, Dimension, Graph, GraphNode, GraphValue, Weight, WeightSource } from "./graph.ts";
import { integerConstant } from "./constants.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { HEAD_NAME, type Table } from "./tied-embeddings.ts";
import { gatherWantedPositions } from "./wanted-positions.ts";

/** One cache tensor pair of the graph; past and present are the same memory. */
export interface CacheTensor {
  readonly past: string;
  readonly present: string;
  readonly numHeads: number;
  readonly headDim: number;
}

interface NodeOptions {
  readonly domain?: GraphNode["domain"];
  readonly outputs?: readonly string[];
  readonly attributes?: Readonly<Record<string, Attribute>>;
}

interface AttentionOptions {
  readonly layer: number;
  readonly numHeads: number;
  readonly numKeyValueHeads: number;
  readonly headDim: number;
  /** Factor of the scores before the softmax. */
  readonly scale: number;
  /** Scaled scores x become cap * tanh(x / cap). */
  readonly scoreCap?: number | undefined;
  /** Positions that a token sees, its own included. */
  readonly window?: number | undefined;
  /** When positions are rotary. */
  readonly rotary?: RotaryTableNames;
}

/** cos and sin of every position, [maxPositions, half the elements that are turned] each. */
export interface RotaryTableNames {
  readonly cos: string;
  readonly sin: string;
}

/** float32 in ONNX's numbering of types. */
const ONNX_FLOAT = 1;

const int = (value: number): Attribute => ({ kind: "int", value });
const float = (value: number): Attribute => ({ kind: "float", value });
const string = (value: string): Attribute => ({ kind: "string", value });

/** Collects inputs, nodes, weights and outputs of one graph. */
export class GraphBuilder {
  readonly cache: CacheTensor[] = [];
  private readonly name: string;
  private readonly checkpoint: Checkpoint;
  private readonly inputs: GraphValue[] = [];
  private readonly outputs: GraphValue[] = [];
  private readonly nodes: GraphNode[] = [];
  private readonly weights = new Map<string, Weight>();

  constructor(name: string, checkpoint: Checkpoint) {
    this.name = name;
    this.checkpoint = checkpoint;
    this.input("input_ids", "int64", ["B", "S"]);
    this.input("seqlens_k", "int32", ["B"]);
    this.input("total_sequence_length", "int32", []);
    this.input("logits_positions", "int64", ["M"]);
  }

  /** Declares a graph input. */
  input(name: string, dataType: DataType, shape: readonly Dimension[]): string {
    this.inputs.push({ name, dataType, shape });
    return name;
  }

  /** Adds a weight made of tensors of the checkpoint. */
  weight(name: string, shape: readonly number[], source: WeightSource, dataType: DataType = "float32"): string {
    if (this.weights.has(name)) throw new InternalError(`Weight "${name}" was added to graph "${this.name}" twice.`);
    this.weights.set(name, { name, dataType, shape, source });
    return name;
  }

  /** Adds one tensor of the checkpoint as a weight, under its own name. */
  tensor(name: string, shape: readonly number[]): string {
    return this.weight(name, shape, this.checkpoint.tensor(name, shape));
  }

  /** Adds a computed float32 constant. */
  constant(name: string, shape: readonly number[], values: Float32Array): string {
    const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    return this.weight(name, shape, { kind: "inline", dataType: "float32", shape, bytes });
  }

  /** Adds a float32 [1] that broadcasts to anything; the same name may be added again. */
  scalar(name: string, value: number): string {
    return this.weights.has(name) ? name : this.constant(name, [1], Float32Array.of(value));
  }

  /** Adds a list of sizes. */
  private integers(name: string, values: readonly number[]): string {
    const { shape, source } = integerConstant(name, values);
    return this.weight(name, shape, source, "int64");
  }

  /** Adds a node; its first output carries the node's name unless `outputs` says otherwise. */
  node(opType: string, name: string, inputs: readonly string[], options: NodeOptions = {}): string {
    const { domain = "", outputs = [name], attributes = {} } = options;
    this.nodes.push({ name, opType, domain, inputs, outputs, attributes });
    return outputs[0] ?? name;
  }

  /** x [B, S, in] times a matrix stored [out, in], plus a bias: [B, S, out]. */
  linear(name: string, x: string, matrix: string, bias?: string, output = name): string {
    const options = { domain: "com.microsoft", outputs: [output], attributes: { transB: int(1) } } as const;
    const product = this.node("FusedMatMul", name, [x, matrix], options);
    return bias === undefined ? product : this.add(`${name}.add_bias`, product, bias);
  }

  /** x [B, S, in] times a matrix stored [in, out] (GPT-2's Conv1D), plus a bias: [B, S, out]. */
  conv1d(name: string, x: string, matrix: string, bias: string): string {
    return this.add(`${name}.add_bias`, this.node("MatMul", name, [x, matrix]), bias);
  }

  add(name: string, a: string, b: string): string {
    return this.node("Add", name, [a, b]);
  }

  multiply(name: string, a: string, b: string): string {
    return this.node("Mul", name, [a, b]);
  }

  /** Parts of these sizes along an axis, the last one unless given. */
  split(name: string, x: string, sizes: readonly number[], outputs: readonly string[], axis = -1): string[] {
    const inputs = [x, this.integers(`${name}.sizes`, sizes)];
    this.node("Split", name, inputs, { outputs, attributes: { axis: int(axis) } });
    return [...outputs];
  }

  /** The same elements under another shape; 0 keeps a size. */
  reshape(name: string, x: string, shape: readonly number[]): string {
    return this.node("Reshape", name, [x, this.integers(`${name}.shape`, shape)]);
  }

  /** cap * tanh(x / cap): close to x when small, never beyond the cap. */
  cap(name: string, x: string, cap: number, output = name): string {
    const limit = this.scalar(`${name}.limit`, cap);
    const share = this.node("Tanh", `${name}.tanh`, [this.node("Div", `${name}.share`, [x, limit])]);
    return this.node("Mul", name, [share, limit], { outputs: [output] });
  }

  /** Rows of a table [V, D] for ids [B, S]: [B, S, D]. It stays in its stored data type: only the rows asked for are converted. */
  embed(name: string, ids: string, tableName: string, { shape, source }: Table): string {
    const dataType = source.kind === "file" ? source.dataType : "float32";
    const matrix = this.weight(tableName, shape, source, dataType);
    const rows = this.node("Gather", name, [matrix, ids], { attributes: { axis: int(0) } });
    if (dataType === "float32") return rows;
    return this.node("Cast", `${name}.cast`, [rows], { attributes: { to: int(ONNX_FLOAT) } });
  }

  /** x / rms(x) * weight. */
  rmsNorm(name: string, x: string, weight: string, epsilon: number): string {
    const attributes = { axis: int(-1), epsilon: float(epsilon), stash_type: int(1) };
    return this.node("SimplifiedLayerNormalization", name, [x, weight], { attributes });
  }

  /** (x - mean(x)) / deviation(x) * weight + bias. */
  layerNorm(name: string, x: string, norm: LayerNormWeights, epsilon: number): string {
    const attributes = { axis: int(-1), epsilon: float(epsilon), stash_type: int(1) };
    return this.node("LayerNormalization", name, [x, norm.weight, norm.bias], { attributes });
  }

  /** residual' = x + residual; returns the norm of residual', and residual'. */
  addAndRmsNorm(name: string, x: string, residual: string, weight: string, epsilon: number): NormAndSum {
    return this.skipNorm("SkipSimplifiedLayerNormalization", name, [x, residual, weight], epsilon);
  }

  /** residual' = x + residual; returns the layer norm (with bias) of residual', and residual'. */
  addAndLayerNorm(name: string, x: string, residual: string, norm: LayerNormWeights, epsilon: number): NormAndSum {
    return this.skipNorm("SkipLayerNormalization", name, [x, residual, norm.weight, norm.bias], epsilon);
  }

  private skipNorm(opType: string, name: string, inputs: readonly string[], epsilon: number): NormAndSum {
    const sum = `${name}.residual`;
    const attributes = { epsilon: float(epsilon) };
    // Outputs 1 and 2 (mean and variance) exist for training only.
    const norm = this.node(opType, name, inputs, { domain: "com.microsoft", outputs: [name, "", "", sum], attributes });
    return { norm, sum };
  }

  /**
   * Causal attention over the cache, which it extends. Returns [B, S, N*H].
   * @param qkv [B, S, (N+2K)*H], heads packed q|k|v, or the three apart
   */
  attention(name: string, qkv: string | readonly [string, string, string], options: AttentionOptions): string {
    const { layer, numHeads, numKeyValueHeads, headDim, scale, scoreCap, window, rotary } = options;
    const key = this.addCacheTensor(layer, "key", numKeyValueHeads, headDim);
    const value = this.addCacheTensor(layer, "value", numKeyValueHeads, headDim);
    const [q, k, v] = typeof qkv === "string" ? [qkv, "", ""] : qkv;
    const inputs = [q, k, v, key.past, value.past, "seqlens_k", "total_sequence_length"];
    if (rotary !== undefined) inputs.push(rotary.cos, rotary.sin);
    return this.node("GroupQueryAttention", name, inputs, {
      domain: "com.microsoft",
      outputs: [name, key.present, value.present],
      attributes: {
        num_heads: int(numHeads),
        kv_num_heads: int(numKeyValueHeads),
        scale: float(scale),
        do_rotary: int(rotary === undefined ? 0 : 1),
        ...(scoreCap !== undefined && { softcap: float(scoreCap) }),
        ...(window !== undefined && { local_window_size: int(window) }),
      },
    });
  }

  /** Declares the input and the output of one cache tensor, [B, K, T, H] each. */
  private addCacheTensor(layer: number, part: "key" | "value", numHeads: number, headDim: number): CacheTensor {
    const shape = ["B", numHeads, "T", headDim];
    const past = this.input(`past_key_values.${layer}.${part}`, "float32", shape);
    const present = `present.${layer}.${part}`;
    this.outputs.push({ name: present, dataType: "float32", shape });
    const tensor = { past, present, numHeads, headDim };
    this.cache.push(tensor);
    return tensor;
  }

  /** x * sigmoid(x). */
  silu(name: string, x: string): string {
    return this.node("QuickGelu", name, [x], { domain: "com.microsoft", attributes: { alpha: float(1) } });
  }

  /** GELU, exact or with the tanh approximation. */
  gelu(name: string, x: string, approximate: "none" | "tanh"): string {
    return this.node("Gelu", name, [x], { attributes: { approximate: string(approximate) } });
  }

  relu(name: string, x: string): string {
    return this.node("Relu", name, [x]);
  }

  /**
   * From the last norm x [B, S, D] to the outputs hidden_states [B, M, D] and logits [B, M, V], for the wanted positions only.
   * The head's matrix [V, D] is a weight of its own even when its tensor is also the embedding: the two are cut differently.
   * @param cap logits x become cap * tanh(x / cap)
   */
  head(x: string, { shape, source }: Table, cap?: number): void {
    const [vocabSize, hiddenSize] = shape;
    const hidden = this.node("Gather", "hidden_states", [x, "logits_positions"], { attributes: { axis: int(1) } });
    const matrix = this.weight(HEAD_NAME, shape, source);
    const product = this.linear("lm_head", hidden, matrix, undefined, cap === undefined ? "logits" : "lm_head");
    const logits = cap === undefined ? product : this.cap("logits_cap", product, cap, "logits");
    this.outputs.unshift(
      { name: logits, dataType: "float32", shape: ["B", "M", vocabSize] },
      { name: hidden, dataType: "float32", shape: ["B", "M", hiddenSize] },
    );
  }

  build(): Graph {
    const { name, inputs, outputs, nodes, weights } = this;
    return gatherWantedPositions({ name, inputs, outputs, nodes, weights });
  }
}

/** The norm of a sum, and the sum itself, which the next layer adds to. */
export interface NormAndSum {
  readonly norm: string;
  readonly sum: string;
}

/** Names of a layer norm's two weights, [D] each. */
export interface LayerNormWeights {
  readonly weight: string;
  readonly bias: string;
}
