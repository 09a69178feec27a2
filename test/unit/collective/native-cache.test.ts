/** The key/value cache: attention that extends its rows in place agrees with attention written out, and memory is lazy. */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { native, type Communicator, type KeyValueCache, type Session } from "../../../src/collective/native.ts";
import { ExecutionError, UsageError } from "../../../src/errors.ts";
import { ownAttention } from "../../../src/model/own-ops/attention.ts";
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

const NUM_HEADS = 4;
const NUM_KEY_VALUE_HEADS = 2;
const HEAD_DIM = 8;
const QUERY_SIZE = NUM_HEADS * HEAD_DIM;
const KEY_SIZE = NUM_KEY_VALUE_HEADS * HEAD_DIM;
const MAX_CONTEXT = 16;
const SCALE = 1 / Math.sqrt(HEAD_DIM);
const TENSORS = ["key", "value"].map((part) => ({
  past: `past.${part}`,
  present: `present.${part}`,
  numHeads: NUM_KEY_VALUE_HEADS,
  headDim: HEAD_DIM,
}));

// qkv: [B, S, (N + 2K) * H]   past, present: [B, K, T, H]   attention: [B, S, N * H]
const ATTENTION = graph({
  inputs: [
    value("qkv", ["B", "S", QUERY_SIZE + 2 * KEY_SIZE]),
    ...TENSORS.map(({ past }) => value(past, ["B", NUM_KEY_VALUE_HEADS, "T", HEAD_DIM])),
    { name: "seqlens_k", dataType: "int32", shape: ["B"] },
    { name: "total_sequence_length", dataType: "int32", shape: [] },
  ],
  outputs: [
    value("attention", ["B", "S", QUERY_SIZE]),
    ...TENSORS.map(({ present }) => value(present, ["B", NUM_KEY_VALUE_HEADS, "T", HEAD_DIM])),
  ],
  nodes: [
    node(
      "GroupQueryAttention",
      ["qkv", "", "", "past.key", "past.value", "seqlens_k", "total_sequence_length"],
      ["attention", "present.key", "present.value"],
      { num_heads: NUM_HEADS, kv_num_heads: NUM_KEY_VALUE_HEADS, scale: SCALE },
      "com.microsoft",
    ),
  ],
});

let communicator: Communicator;
let session: Session;

beforeAll(async () => {
  openRuntime();
  communicator = await connectAlone();
  const model = encodeModel(ownAttention(ATTENTION));
  session = await native().createSession({ model, weights: [], intraThreads: 1, communicator });
});

afterAll(async () => {
  await session.close();
  await communicator.close();
});

function createCache(numRows: number, maxContext = MAX_CONTEXT): KeyValueCache {
  return native().createKeyValueCache({ numRows, maxContext, tensors: TENSORS });
}

/** One new token's query, keys and values: repeatable, all different. */
function tokenOf(seed: number): number[] {
  return Array.from({ length: QUERY_SIZE + 2 * KEY_SIZE }, (_, i) => Math.sin(seed * 97 + i * 1.7));
}

/** Attention of the last token of `tokens` over all of them: [N * H]. */
function attend(tokens: readonly number[][]): number[] {
  const output: number[] = [];
  for (let head = 0; head < NUM_HEADS; ++head) {
    const keyHead = Math.floor(head / (NUM_HEADS / NUM_KEY_VALUE_HEADS));
    const query = tokens.at(-1)!.slice(head * HEAD_DIM, (head + 1) * HEAD_DIM);
    const part = (token: number[], base: number) =>
      token.slice(base + keyHead * HEAD_DIM, base + (keyHead + 1) * HEAD_DIM);
    const weights = tokens.map((token) =>
      Math.exp(SCALE * part(token, QUERY_SIZE).reduce((sum, key, i) => sum + key * query[i]!, 0)),
    );
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    for (let i = 0; i < HEAD_DIM; ++i) {
      output.push(
        tokens.reduce((sum, token, t) => sum + (weights[t]! / total) * part(token, QUERY_SIZE + KEY_SIZE)[i]!, 0),
      );
    }
  }
  return output;
}

/** Feeds `newTokens` of each row after the `reached` tokens already there; resolves to the attention of every new token, row by row. */
async function step(
  cache: KeyValueCache,
  firstRow: number,
  rows: readonly { readonly reached: number; readonly newTokens: readonly number[][] }[],
): Promise<number[]> {
  const numNew = rows[0]!.newTokens.length;
  const ends = rows.map(({ reached }) => reached + numNew);
  const { outputs } = await session.run({
    feeds: [
      float32(
        "qkv",
        [rows.length, numNew, QUERY_SIZE + 2 * KEY_SIZE],
        rows.flatMap(({ newTokens }) => newTokens.flat()),
      ),
      int32(
        "seqlens_k",
        [rows.length],
        ends.map((end) => end - 1),
      ),
      int32("total_sequence_length", [], [Math.max(...ends)]),
    ],
    fetch: ["attention"],
    cache: { cache, firstRow, numRows: rows.length },
  });
  return numbersOf(outputs[0]);
}

function expectClose(actual: readonly number[], expected: readonly number[]): void {
  expect(actual).toHaveLength(expected.length);
  expect(Math.max(...actual.map((number, i) => Math.abs(number - expected[i]!)))).toBeLessThan(1e-5);
}

function residentBytes(): number {
  return Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync("/proc/self/status", "utf8"))![1]) * 1024;
}

describe("attention over cache rows", () => {
  test("prompts of different lengths, then steps of both rows together", async () => {
    const cache = createCache(3);
    const first = [1, 2, 3, 4, 5].map(tokenOf);
    const second = [11, 12].map(tokenOf);
    expectClose(
      await step(cache, 1, [{ reached: 0, newTokens: first }]),
      first.flatMap((_, i) => attend(first.slice(0, i + 1))),
    );
    expectClose(
      await step(cache, 2, [{ reached: 0, newTokens: second }]),
      second.flatMap((_, i) => attend(second.slice(0, i + 1))),
    );
    for (const seed of [21, 22, 23]) {
      const rows = [first, second].map((tokens, i) => ({
        reached: tokens.length,
        newTokens: [tokenOf(seed + 50 * i)],
      }));
      const actual = await step(cache, 1, rows);
      first.push(tokenOf(seed));
      second.push(tokenOf(seed + 50));
      expectClose(actual, [...attend(first), ...attend(second)]);
    }
    cache.close();
  });

  test("a prompt in chunks, up to the last position", async () => {
    const cache = createCache(1);
    const tokens = Array.from({ length: MAX_CONTEXT }, (_, i) => tokenOf(i));
    for (let begin = 0; begin < MAX_CONTEXT; begin += 4) {
      const newTokens = tokens.slice(begin, begin + 4);
      expectClose(
        await step(cache, 0, [{ reached: begin, newTokens }]),
        newTokens.flatMap((_, i) => attend(tokens.slice(0, begin + i + 1))),
      );
    }
    cache.close();
  });

  test("a copied row goes on on its own", async () => {
    const cache = createCache(2);
    const tokens = [1, 2, 3].map(tokenOf);
    await step(cache, 0, [{ reached: 0, newTokens: tokens }]);
    cache.copyRow(0, 1, 3);
    const continuations = [
      [...tokens, tokenOf(4)],
      [...tokens, tokenOf(5)],
    ];
    const rows = continuations.map((row) => ({ reached: 3, newTokens: [row.at(-1)!] }));
    expectClose(await step(cache, 0, rows), continuations.flatMap(attend));
    cache.close();
  });
});

describe("memory", () => {
  test("is reserved, and resident only where tokens are", async () => {
    const before = residentBytes();
    const cache = createCache(8, 1 << 20);
    expect(cache.reservedBytes).toBe(2 * 8 * NUM_KEY_VALUE_HEADS * 2 ** 20 * HEAD_DIM * 4);
    expect([cache.numRows, cache.maxContext]).toEqual([8, 1 << 20]);
    const tokens = [1, 2, 3].map(tokenOf);
    expectClose(
      await step(cache, 7, [{ reached: 0, newTokens: tokens }]),
      tokens.flatMap((_, i) => attend(tokens.slice(0, i + 1))),
    );
    expect(residentBytes() - before).toBeLessThan(64 * 2 ** 20);
    cache.close();
  });

  test("a rank without heads has a cache without bytes", () => {
    const cache = native().createKeyValueCache({ numRows: 2, maxContext: 8, tensors: [] });
    expect(cache.reservedBytes).toBe(0);
    cache.copyRow(0, 1, 8);
    cache.close();
  });
});

describe("refusals", () => {
  const token = { reached: 0, newTokens: [tokenOf(1)] };
  const cases: [string, (cache: KeyValueCache) => unknown, string][] = [
    ["rows", (cache) => step(cache, 1, [token, token]), "Cache rows [1, 3) do not exist: the cache has 2."],
    ["a row to copy", (cache) => cache.copyRow(2, 0, 1), "Cache rows [2, 3) do not exist: the cache has 2."],
    ["a row to copy to", (cache) => cache.copyRow(0, -1, 1), "Cache rows [-1, 0) do not exist: the cache has 2."],
    ["positions", (cache) => cache.copyRow(0, 1, 17), "Cannot copy 17 positions: a cache row has 16."],
  ];
  test.each(cases)("%s that do not exist", async (_, act, message) => {
    const cache = createCache(2);
    expect(await errorOf(() => act(cache))).toEqual(new UsageError(message));
    cache.close();
  });

  test("a closed cache", async () => {
    const cache = createCache(1);
    cache.close();
    const closed = new UsageError("The key/value cache is closed: create another one.");
    expect(await errorOf(() => cache.copyRow(0, 0, 1))).toEqual(closed);
    expect(await errorOf(() => step(cache, 0, [token]))).toEqual(closed);
  });

  test("more memory than there is address space", async () => {
    expect(await errorOf(() => createCache(1024, 2 ** 40))).toEqual(
      new ExecutionError(
        "Reserving a key/value cache of 1024 rows x 1099511627776 positions, 144115188075855872 bytes, failed: " +
          "Cannot allocate memory. Lower maxContext or the number of rows.",
      ),
    );
  });
});
