/** The likeliest token of each position, found by a run: over shards of any sizes, with ties, and with logits that are no numbers. */
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { native, NO_TOKEN, type Communicator } from "../../../src/collective/native.ts";
import { InternalError } from "../../../src/errors.ts";
import { encodeModel } from "../../../src/model/onnx-format.ts";
import { connectWorld, errorOf, float32, graph, node, openRuntime, value } from "../../support/tiny-graph.ts";

/** Rows of logits, [M, V]. */
type Rows = readonly (readonly number[])[];

let world: Communicator[];

beforeAll(async () => {
  openRuntime();
  world = await connectWorld(3);
});

afterAll(() => Promise.all(world.map((communicator) => communicator.close())));

/** What every rank finds when rank r holds columns [begins[r], begins[r + 1]) of the rows. */
async function search(rows: Rows, begins: readonly number[], numPositions = rows.length): Promise<number[][]> {
  const model = graph({
    inputs: [value("x", [1, "M", "V"])],
    outputs: [value("logits", [1, "M", "V"]), value("other", [1, "M", "V"])],
    nodes: [node("Identity", ["x"], ["logits"]), node("Neg", ["x"], ["other"])],
  });
  return Promise.all(
    world.map(async (communicator, rank) => {
      const options = { model: encodeModel(model), weights: [], intraThreads: 1, communicator };
      const session = await native().createSession(options);
      try {
        const [begin, end] = [begins[rank]!, begins[rank + 1]!];
        const shard = rows.flatMap((row) => row.slice(begin, end));
        const { bestTokens, outputs } = await session.run({
          feeds: [float32("x", [1, rows.length, end - begin], shard)],
          fetch: ["other"],
          tokenSearch: {
            output: end > begin ? "logits" : undefined,
            numPositions,
            firstId: begin,
            isShard: true,
          },
        });
        expect(outputs.map(({ name }) => name)).toEqual(["other"]);
        return [...bestTokens];
      } finally {
        await session.close();
      }
    }),
  );
}

const sameEverywhere = (ids: readonly number[]): number[][] => world.map(() => [...ids]);

const ROWS: Rows = [
  [0.5, -1, 3, 0, 2, 9, 1, 4],
  [-5, -4, -3, -2, -1, -0.5, -9, -8],
  [7, 7, 7, 7, 7, 7, 7, 7],
  [1, 2, 3, 8, 5, 6, 8, 8],
  [-0, -0, -0, 0, -0, 0, -1, -2],
  Array<number>(8).fill(-Infinity),
];
const BEST = [5, 5, 0, 3, 0, 0];

describe("in shards", () => {
  test.each([
    ["uneven", [0, 3, 6, 8]],
    ["the first rank without vocabulary", [0, 0, 7, 8]],
    ["the last rank without vocabulary", [0, 5, 8, 8]],
  ])("%s", async (_, begins) => {
    expect(await search(ROWS, begins)).toEqual(sameEverywhere(BEST));
  });

  test("a logit that is no number, and infinity, are no tokens, wherever they lie", async () => {
    for (const odd of [Number.NaN, Infinity]) {
      for (let id = 0; id < 8; id++) {
        const rows = [ROWS[0]!.with(id, odd), ROWS[1]!];
        expect(await search(rows, [0, 3, 6, 8])).toEqual(sameEverywhere([NO_TOKEN, 5]));
      }
    }
  });

  test("among thousands, the lowest of several largest", async () => {
    const size = 3001;
    const row = Array.from({ length: size }, (_, id) => Math.sin(id) - 2);
    const rows = [0, 511, 512, 1500, size - 1].map((best) => row.with(best, 3).with(size - 1, 3));
    expect(await search(rows, [0, 1400, 1401, size])).toEqual(sameEverywhere([0, 511, 512, 1500, size - 1]));
  });

  test("other positions than were asked for are a mistake of ours", async () => {
    const error = await errorOf(() => search(ROWS, [0, 3, 6, 8], 2));
    expect(error).toBeInstanceOf(InternalError);
    expect((error as Error).message).toContain("2 positions found logits of shape [1, 6, ");
  });
});

test("whole on every rank: nothing is exchanged", async () => {
  const [alone] = world;
  const before = alone!.statistics();
  const model = graph({
    inputs: [value("x", [1, "M", "V"])],
    outputs: [value("logits", [1, "M", "V"])],
    nodes: [node("Identity", ["x"], ["logits"])],
  });
  const options = { model: encodeModel(model), weights: [], intraThreads: 1, communicator: alone! };
  const session = await native().createSession(options);
  const { bestTokens, outputs, collectiveNanoseconds } = await session.run({
    feeds: [float32("x", [1, ROWS.length, 8], ROWS.flat())],
    fetch: [],
    tokenSearch: { output: "logits", numPositions: ROWS.length, firstId: 0, isShard: false },
  });
  await session.close();
  expect([...bestTokens]).toEqual(BEST);
  expect(outputs).toEqual([]);
  expect(collectiveNanoseconds).toBe(0);
  expect(alone!.statistics()).toEqual(before);
});
