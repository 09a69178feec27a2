/** What a rank's weights are made of: files as they are, conversions kept in the cache, or memory; the same bytes each time. */
import { beforeEach, expect, test } from "@jest/globals";
import { mkdtempSync, readdirSync, rmSync, truncateSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { native } from "../../../src/collective/native.ts";
import { fingerprintFiles } from "../../../src/model/fingerprint.ts";
import type { Graph, Weight } from "../../../src/model/graph.ts";
import { Cache } from "../../../src/shards/cache.ts";
import type { WeightCache } from "../../../src/shards/converted-weights.ts";
import { materialiseGraph } from "../../../src/shards/materialise.ts";
import { useTemporaryDirectory } from "../../support/temporary-directory.ts";

const base = useTemporaryDirectory();
const { mapFile, lockFile } = native();
let file: string;
let cacheDirectory: string;

beforeEach(() => {
  const folder = mkdtempSync(join(base, "graph-"));
  file = join(folder, "model.safetensors");
  cacheDirectory = join(folder, "cache");
  writeFloats(1, 2, 3, 4);
});

function writeFloats(...values: number[]): void {
  writeFileSync(file, new Uint8Array(Float32Array.from(values).buffer));
}

/** [4] as it lies in the file, and one column of the same bytes as [2, 2]. */
function makeGraph(column = 1): Graph {
  const mapped: Weight = {
    name: "norm",
    dataType: "float32",
    shape: [4],
    source: { kind: "file", file, offset: 0, dataType: "float32", shape: [4] },
  };
  const converted: Weight = {
    name: "half",
    dataType: "float32",
    shape: [2, 1],
    source: {
      kind: "take",
      of: { kind: "file", file, offset: 0, dataType: "float32", shape: [2, 2] },
      axis: 1,
      runs: [{ begin: column, end: column + 1 }],
    },
  };
  const weights = new Map([mapped, converted].map((weight) => [weight.name, weight]));
  return { name: "g", inputs: [], outputs: [], nodes: [], weights };
}

async function openCache(limitBytes = 1e9): Promise<WeightCache> {
  const cache = new Cache({ directory: cacheDirectory, limitBytes }, lockFile);
  return { cache, fingerprints: await fingerprintFiles([file]), label: "a test" };
}

/** Loads, and tells the converted column and what it cost. */
async function load(cache: WeightCache | undefined, graph = makeGraph()) {
  const { weights, footprint, release } = await materialiseGraph(graph, mapFile, cache);
  const half = [...new Float32Array(weights[1]!.data.slice().buffer)];
  release();
  return { half, ...footprint };
}

test("without a cache what does not lie in the file as it is wanted is copied, in the graph's order", async () => {
  const { weights, footprint } = await materialiseGraph(makeGraph(), mapFile, undefined);
  expect(weights.map(({ data, ...rest }) => ({ ...rest, values: [...new Float32Array(data.slice().buffer)] }))).toEqual(
    [
      { name: "norm", dataType: "float32", shape: [4], values: [1, 2, 3, 4] },
      { name: "half", dataType: "float32", shape: [2, 1], values: [2, 4] },
    ],
  );
  expect(footprint).toEqual({ mappedBytes: 16, copiedBytes: 8, convertedBytes: 8 });
});

test("with a cache the second load converts nothing", async () => {
  const cache = await openCache();
  expect(await load(cache)).toEqual({ half: [2, 4], mappedBytes: 24, copiedBytes: 0, convertedBytes: 8 });
  expect(await load(cache)).toEqual({ half: [2, 4], mappedBytes: 24, copiedBytes: 0, convertedBytes: 0 });
  expect(readdirSync(cacheDirectory)).toHaveLength(1);
});

test("kept weights begin at multiples of 64 bytes", async () => {
  const graph = makeGraph();
  const half = graph.weights.get("half")!;
  const more = ["half", "quarter", "eighth"].map((name): [string, Weight] => [name, { ...half, name }]);
  const { weights, release } = await materialiseGraph({ ...graph, weights: new Map(more) }, mapFile, await openCache());
  expect(weights.map(({ data }) => data.byteOffset)).toEqual([0, 64, 128]);
  release();
});

test("a model that lies in its files as it is wanted keeps nothing in the cache", async () => {
  const graph = makeGraph();
  const weights = new Map([...graph.weights].slice(0, 1));
  const { footprint } = await materialiseGraph({ ...graph, weights }, mapFile, await openCache());
  expect(footprint).toEqual({ mappedBytes: 16, copiedBytes: 0, convertedBytes: 0 });
  expect(() => readdirSync(cacheDirectory)).toThrow("ENOENT");
});

test("what another graph asks for, and what a changed file holds, has other keys", async () => {
  const one = await load(await openCache(), makeGraph(0));
  const other = await load(await openCache(), makeGraph(1));
  writeFloats(5, 6, 7, 8);
  const changed = await load(await openCache(), makeGraph(1));
  expect([one, other, changed].map(({ half, convertedBytes }) => ({ half, convertedBytes }))).toEqual([
    { half: [1, 3], convertedBytes: 8 },
    { half: [2, 4], convertedBytes: 8 },
    { half: [6, 8], convertedBytes: 8 },
  ]);
  expect(readdirSync(cacheDirectory)).toHaveLength(3);
});

test("a file that was written again is another, though its fingerprint may not see what changed", async () => {
  const cache = await openCache();
  await load(cache);
  utimesSync(file, 1, 1);
  expect(await load(cache)).toMatchObject({ half: [2, 4], convertedBytes: 8 });
});

test("damaged kept weights are converted again", async () => {
  const cache = await openCache();
  await load(cache);
  const [entry] = readdirSync(cacheDirectory);
  const weights = join(cacheDirectory, entry!, "weights.bin");
  for (const damage of [
    () => truncateSync(weights, 4),
    () => writeFileSync(weights, Buffer.alloc(8, 1)),
    () => rmSync(weights),
  ]) {
    damage();
    expect(await load(cache)).toMatchObject({ half: [2, 4], convertedBytes: 8 });
    expect(await load(cache)).toMatchObject({ half: [2, 4], convertedBytes: 0 });
  }
});

test("where nothing can be kept the weights are copied", async () => {
  expect(await load(await openCache(0))).toEqual({ half: [2, 4], mappedBytes: 16, copiedBytes: 8, convertedBytes: 8 });
});
