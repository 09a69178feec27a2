/** The op CachedAttention inside graphs: beside onnxruntime's GroupQueryAttention, whose place it takes, and what it refuses. */
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { native, type Communicator, type KeyValueCache, type Session } from "../../../src/collective/native.ts";
import { ExecutionError } from "../../../src/errors.ts";
import { ownAttention } from "../../../src/model/own-ops/attention.ts";
import type { Attribute, Graph } from "../../../src/model/graph.ts";
import { encodeModel } from "../../../src/model/onnx-format.ts";
import {
  connectAlone,
  errorOf,
  float32,
  graph,
  int32,
  node,
  numbersOf,
  openRuntime,
  value,
} from "../../support/tiny-graph.ts";

interface Shape {
  readonly numHeads: number;
  readonly numKeyValueHeads: number;
  /** What onnxruntime's op takes: a multiple of 16. */
  readonly headDim: number;
  readonly rotaryDim: number;
  readonly isPacked?: boolean;
  readonly window?: number;
  readonly cap?: number;
}

const MAX_CONTEXT = 96;

function sketch(shape: Shape): Graph {
  const { numHeads, numKeyValueHeads, headDim, rotaryDim, isPacked = true, window, cap } = shape;
  const [querySize, keySize] = [numHeads * headDim, numKeyValueHeads * headDim];
  const cache = ["B", numKeyValueHeads, "T", headDim];
  const whole = graph({
    inputs: [
      value("query", ["B", "S", isPacked ? querySize + 2 * keySize : querySize]),
      ...(isPacked ? [] : [value("key", ["B", "S", keySize]), value("value", ["B", "S", keySize])]),
      value("past.key", cache),
      value("past.value", cache),
      { name: "seqlens_k", dataType: "int32", shape: ["B"] },
      { name: "total_sequence_length", dataType: "int32", shape: [] },
    ],
    outputs: [value("attention", ["B", "S", querySize]), value("present.key", cache), value("present.value", cache)],
    weights: rotaryDim === 0 ? {} : { cos: [MAX_CONTEXT, rotaryDim / 2], sin: [MAX_CONTEXT, rotaryDim / 2] },
    nodes: [
      node(
        "GroupQueryAttention",
        [
          "query",
          ...(isPacked ? ["", ""] : ["key", "value"]),
          "past.key",
          "past.value",
          "seqlens_k",
          "total_sequence_length",
          ...(rotaryDim === 0 ? [] : ["cos", "sin"]),
        ],
        ["attention", "present.key", "present.value"],
        { num_heads: numHeads, kv_num_heads: numKeyValueHeads, do_rotary: rotaryDim === 0 ? 0 : 1 },
        "com.microsoft",
      ),
    ],
  });
  const attributes: Record<string, Attribute> = {
    ...whole.nodes[0]!.attributes,
    scale: { kind: "float", value: 0.3 },
    ...(window !== undefined && { local_window_size: { kind: "int", value: window } }),
    ...(cap !== undefined && { softcap: { kind: "float", value: cap } }),
  };
  return { ...whole, nodes: [{ ...whole.nodes[0]!, attributes }] };
}

let communicator: Communicator;

beforeAll(async () => {
  openRuntime();
  communicator = await connectAlone();
});

afterAll(() => communicator.close());

/** A session of the graph, with a cache of rows of MAX_CONTEXT. */
class Attention {
  private constructor(
    private readonly model: Graph,
    private readonly shape: Shape,
    private readonly session: Session,
    private readonly cache: KeyValueCache,
  ) {}

  static async open(model: Graph, shape: Shape, numRows: number): Promise<Attention> {
    const tables = [Math.cos, Math.sin].map((turn) =>
      Array.from({ length: (MAX_CONTEXT * shape.rotaryDim) / 2 }, (_, i) => {
        const [position, pair] = [Math.floor((2 * i) / shape.rotaryDim), i % (shape.rotaryDim / 2)];
        return turn(position / 100 ** ((2 * pair) / shape.rotaryDim));
      }),
    );
    const weights = ["cos", "sin"].flatMap((name, i) =>
      model.weights.has(name) ? [float32(name, model.weights.get(name)!.shape, tables[i]!)] : [],
    );
    const session = await native().createSession({ model: encodeModel(model), weights, intraThreads: 2, communicator });
    const tensors = ["key", "value"].map((part) => ({
      past: `past.${part}`,
      present: `present.${part}`,
      numHeads: shape.numKeyValueHeads,
      headDim: shape.headDim,
    }));
    const cache = native().createKeyValueCache({ numRows, maxContext: MAX_CONTEXT, tensors });
    return new Attention(model, shape, session, cache);
  }

  /** Attention of `numTokens` tokens of every row up to position ends[row] - 1; numbers depend on row, position and feature. */
  async step(ends: readonly number[], numTokens: number): Promise<number[]> {
    const feeds = this.model.inputs
      .filter(({ name }) => /^(query|key|value)$/.test(name))
      .map(({ name, shape }, index) => {
        const width = shape[2] as number;
        const numbers = ends.flatMap((end, row) =>
          Array.from({ length: numTokens * width }, (_, i) => {
            const position = end - numTokens + Math.floor(i / width);
            return Math.sin((1 + row + 5 * index) * 37.3 + position * 11.7 + (i % width) * 1.31);
          }),
        );
        return float32(name, [ends.length, numTokens, width], numbers);
      });
    const lengths = ends.map((end) => end - 1);
    feeds.push(int32("seqlens_k", [ends.length], lengths));
    feeds.push(int32("total_sequence_length", [], [Math.max(...ends)]));
    const cache = { cache: this.cache, firstRow: 0, numRows: ends.length };
    const { outputs } = await this.session.run({ feeds, fetch: ["attention"], cache });
    expect(outputs[0]!.shape).toEqual([ends.length, numTokens, this.shape.numHeads * this.shape.headDim]);
    return numbersOf(outputs[0]);
  }

  async close(): Promise<void> {
    await this.session.close();
    this.cache.close();
  }
}

const plain = { numHeads: 4, numKeyValueHeads: 2, headDim: 16, rotaryDim: 16 };

describe("beside GroupQueryAttention", () => {
  test.each<[string, Shape]>([
    ["packed, turned", plain],
    ["apart", { ...plain, isPacked: false }],
    ["a part of each head turned", { ...plain, headDim: 32, rotaryDim: 16 }],
    ["not turned, heads of their own", { numHeads: 3, numKeyValueHeads: 3, headDim: 48, rotaryDim: 0 }],
    ["a window", { ...plain, window: 7 }],
    ["capped scores, apart, a window", { ...plain, isPacked: false, window: 20, cap: 0.5 }],
  ])("%s", async (_, shape) => {
    const theirs = await Attention.open(sketch(shape), shape, 2);
    const ours = await Attention.open(ownAttention(sketch(shape)), shape, 2);
    // A prompt in two parts, then tokens of two rows; the second row's past is what a cache holds where nothing was written.
    for (const [ends, numTokens] of [
      [[70], 70],
      [[89], 1],
      [[90, 3], 1],
      [[91, 4], 1],
    ] as const) {
      const [expected, received] = [await theirs.step(ends, numTokens), await ours.step(ends, numTokens)];
      const distance = Math.max(...received.map((number, i) => Math.abs(number - expected[i]!)));
      expect(distance).toBeLessThan(1e-5);
    }
    await theirs.close();
    await ours.close();
  });
});

test("only attention is replaced, and what it does not say is none", () => {
  const model = sketch(plain);
  const [replaced] = ownAttention({ ...model, nodes: model.nodes }).nodes;
  expect(replaced).toEqual({
    name: "attention_node",
    opType: "CachedAttention",
    domain: "shardrun",
    inputs: ["query", "", "", "past.key", "past.value", "seqlens_k", "cos", "sin"],
    outputs: ["attention", "present.key", "present.value"],
    attributes: {
      num_heads: { kind: "int", value: 4 },
      kv_num_heads: { kind: "int", value: 2 },
      group_size: { kind: "int", value: 2 },
      first_head: { kind: "int", value: 0 },
      head_dim: { kind: "int", value: 16 },
      rotary_dim: { kind: "int", value: 16 },
      scale: { kind: "float", value: 0.3 },
      softcap: { kind: "float", value: 0 },
      local_window_size: { kind: "int", value: 0 },
    },
  });
  const others = graph({ inputs: [], outputs: [], nodes: [node("Add", ["x", "y"], ["z"])] });
  expect(ownAttention(others)).toEqual(others);
});

describe("refusals", () => {
  const name = 'CachedAttention "attention_node"';
  test.each<[string, readonly number[], number, string]>([
    ["positions behind the cache", [97], 1, `${name} was given 1 tokens up to position 96 of 96.`],
    ["more tokens than positions", [3], 4, `${name} was given 4 tokens up to position 2 of 96.`],
  ])("%s", async (_, ends, numTokens, message) => {
    const attention = await Attention.open(ownAttention(sketch(plain)), plain, 1);
    expect(await errorOf(() => attention.step(ends, numTokens))).toEqual(new ExecutionError(message));
    await attention.close();
  });

  test("heads that are not those of the groups", async () => {
    const model = ownAttention(sketch(plain));
    const [attention] = model.nodes;
    const attributes = { ...attention!.attributes, first_head: { kind: "int", value: 1 } } as const;
    const open = () => Attention.open({ ...model, nodes: [{ ...attention!, attributes }] }, plain, 1);
    expect(await errorOf(open)).toEqual(
      new ExecutionError(
        `${name} cannot share 2 key/value heads among 4 heads in groups of 2, from head 1 of a group on.`,
      ),
    );
  });

  test("a cache of other heads", async () => {
    const attention = await Attention.open(ownAttention(sketch(plain)), { ...plain, numKeyValueHeads: 1 }, 1);
    expect(await errorOf(() => attention.step([1], 1))).toBeInstanceOf(ExecutionError);
    await attention.close();
  });
});
