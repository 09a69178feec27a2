import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import type { FetchedValue } from "../../../src/collective/native.ts";
import { gatherLogits, searchBestTokens, type LogitsLayout } from "../../../src/execute/logits.ts";
import { connectWorld, type CommunicatorWorld } from "../../support/communicator-world.ts";

/** Rows of logits, [M, V]. */
type Rows = readonly (readonly number[])[];

/** This rank's columns of the rows, as its session returns them: float32 [1, M, V/P]; nothing on a rank without vocabulary. */
function cut(rows: Rows, { firstIds, sizes, vocabSize }: LogitsLayout, rank: number): FetchedValue | undefined {
  const begin = firstIds?.[rank] ?? 0;
  const size = firstIds === undefined ? vocabSize : sizes[rank]!;
  if (size === 0) return undefined;
  const data = Float32Array.from(rows.flatMap((row) => row.slice(begin, begin + size)));
  return { name: "logits", dataType: "float32", shape: [1, rows.length, size], data: new Uint8Array(data.buffer) };
}

const ROWS: Rows = [
  [0.5, -1, 3, 0, 2, 9, 1, 4],
  [-5, -4, -3, -2, -1, -0.5, -9, -8],
  [7, 7, 7, 7, 7, 7, 7, 7],
  [1, 2, 3, 8, 5, 6, 8, 8],
];
/** 8 logits over 3 ranks, uneven, with and without a rank that holds none. */
const layouts: readonly (readonly [string, LogitsLayout])[] = [
  ["uneven", { vocabSize: 8, firstIds: [0, 3, 6], sizes: [3, 3, 2] }],
  ["the first rank without vocabulary", { vocabSize: 8, firstIds: [0, 0, 7], sizes: [0, 7, 1] }],
  ["the last rank without vocabulary", { vocabSize: 8, firstIds: [0, 5, 0], sizes: [5, 3, 0] }],
  ["every rank with all of it", { vocabSize: 8, firstIds: undefined, sizes: [] }],
];

describe.each(["shm", "tcp"] as const)("over %s", (transport) => {
  let world: CommunicatorWorld;
  beforeAll(async () => {
    world = await connectWorld(3, transport);
  });
  afterAll(() => world.close());

  test.each(layouts)("all logits, %s", async (_, layout) => {
    for (const rows of [ROWS, ROWS.slice(0, 1)]) {
      const found = await world.run((communicator, rank) =>
        gatherLogits(communicator, layout, cut(rows, layout, rank), rows.length),
      );
      for (const logits of found) expect([...logits]).toEqual(rows.flat());
    }
  });
});

test("where a rank's best tokens are searched for", () => {
  const layout = { vocabSize: 8, firstIds: [0, 5, 0], sizes: [5, 3, 0] };
  const shard = { numPositions: 2, isShard: true };
  expect([0, 1, 2].map((rank) => searchBestTokens(layout, rank, 2))).toEqual([
    { ...shard, output: "logits", firstId: 0 },
    { ...shard, output: "logits", firstId: 5 },
    { ...shard, output: undefined, firstId: 0 },
  ]);
  const whole = { output: "logits", numPositions: 1, firstId: 0, isShard: false };
  expect(searchBestTokens({ vocabSize: 8, firstIds: undefined, sizes: [] }, 1, 1)).toEqual(whole);
});
