/** The printed plan, as people see it. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "@jest/globals";
import { loadModel } from "../../../src/model/model.ts";
import { partition } from "../../../src/partition/partition.ts";
import { printPlan, totalPlan } from "../../../src/partition/print.ts";
import { GraphSketch, PLAIN } from "../../support/graph-sketch.ts";

const demo = await loadModel(fileURLToPath(new URL("../../../models/demo-stories", import.meta.url)));

test("a Llama of 6 heads over 2 on 4 ranks", () => {
  expect(printPlan(partition(demo.graph, { worldSize: 4 }))).toBe(`\
layer  node                      weight        sharding                     collective             per rank
-      embed_tokens              [576, 96]     Replicate                    -                      108.0 KiB f16
0-3    input_layernorm           [96]          Replicate                    -                      384 B f32
0-3    qkv_proj                  [160, 96]     Shard(0) columnParallel      -                      18.0 KiB - 36.0 KiB f32
0      attention                 2 x [256, 8]  Replicate                    -                      16.0 KiB f32
0-2    o_proj                    [96, 96]      Shard(1) rowParallel         allReduce [B, S, 96]   6.0 KiB - 12.0 KiB f32
0-3    post_attention_layernorm  [96]          Replicate                    -                      384 B f32
0-3    gate_up_proj              [512, 96]     Shard(0) columnParallel      -                      48.0 KiB f32
0-2    down_proj                 [96, 256]     Shard(1) rowParallel         allReduce [B, S, 96]   24.0 KiB f32
3      o_proj                    [96, 96]      Shard(1) rowParallel         allReduce [B, M, 96]   6.0 KiB - 12.0 KiB f32
3      down_proj                 [96, 256]     Shard(1) rowParallel         allReduce [B, M, 96]   24.0 KiB f32
-      norm                      [96]          Replicate                    -                      384 B f32
-      lm_head                   [576, 96]     Shard(0) vocabularyParallel  allGather [B, M, 576]  54.0 KiB f32

weights per rank (P = 4): 613.4 KiB, 661.4 KiB, 565.4 KiB, 565.4 KiB
collectives: 8 per step; each rank hands over 3.0 KiB per token, and 576 B of logits per position
the same on every rank:
  108.0 KiB  embed_tokens: every rank looks up rows of it
  3.4 KiB    input_layernorm, post_attention_layernorm, norm: a norm needs every feature
  16.0 KiB   attention: the same for every head`);
});

test("layers that differ have rows of their own; so do collectives without a weight", () => {
  const sketch = new GraphSketch();
  let x = sketch.embed(7, 8);
  [12, 12, 10, 12].forEach((width, layer) => {
    const up = sketch.product(x, 8, width, PLAIN, `layers.${layer}.up`);
    x = sketch.product(up, width, 8, PLAIN, `layers.${layer}.down`);
  });
  const branches = ["left", "right"].map((name) => {
    return sketch.product(sketch.product(x, 8, 4, PLAIN, `${name}.up`), 4, 8, PLAIN, `${name}.down`);
  });
  sketch.output(sketch.node("Add", branches, {}, "sum"), ["B", "S", 8]);
  expect(printPlan(partition(sketch.build(), { worldSize: 2 }))).toBe(`\
layer   node        weight   sharding                 collective           per rank
-       gather_1    [7, 8]   Replicate                -                    224 B f32
0-1, 3  up          [12, 8]  Shard(0) columnParallel  -                    192 B f32
0-1, 3  down        [8, 12]  Shard(1) rowParallel     allReduce [B, S, 8]  192 B f32
2       up          [10, 8]  Shard(0) columnParallel  -                    160 B f32
2       down        [8, 10]  Shard(1) rowParallel     allReduce [B, S, 8]  160 B f32
-       left.up     [4, 8]   Shard(0) columnParallel  -                    64 B f32
-       left.down   [8, 4]   Shard(1) rowParallel     -                    64 B f32
-       right.up    [4, 8]   Shard(0) columnParallel  -                    64 B f32
-       right.down  [8, 4]   Shard(1) rowParallel     -                    64 B f32
-       sum         -        -                        allReduce [B, S, 8]  -

weights per rank (P = 2): 1.9 KiB, 1.9 KiB
collectives: 5 per step; each rank hands over 160 B per token
the same on every rank:
  224 B  gather_1: every rank looks up rows of it`);
});

test("docs/partitioning.md shows the plan as it is printed", () => {
  const page = readFileSync(new URL("../../../docs/partitioning.md", import.meta.url), "utf8");
  expect(page).toContain(`\`\`\`\n${printPlan(partition(demo.graph, { worldSize: 4 }))}\n\`\`\``);
});

test("totals", () => {
  const totals = totalPlan(partition(demo.graph, { worldSize: 2 }));
  expect(totals).toMatchObject({ numCollectives: 8, wireBytesPerToken: 8 * 96 * 4, logitsBytesPerPosition: 288 * 4 });
  expect(totals.rankBytes[0]).toBe(totals.rankBytes[1]);
});

test("one rank holds everything, and says so", () => {
  const lines = printPlan(partition(demo.graph, { worldSize: 1 })).split("\n");
  expect(lines).toContain("collectives: 0 per step; each rank hands over 0 B per token");
  expect(lines.filter((line) => line.includes("one rank holds everything"))).toEqual([
    "  1.7 MiB    qkv_proj, o_proj, gate_up_proj, down_proj, lm_head: one rank holds everything",
  ]);
});
