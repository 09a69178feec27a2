import { describe, expect, test } from "@jest/globals";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { BLOCK_LAYOUTS, type BlockType } from "../../../src/model/graph.ts";
import { expandInto } from "../../../src/shards/blocks.ts";

interface Answers {
  readonly answers: Readonly<Record<BlockType, { readonly blocks: string; readonly float32: string }>>;
}

const { answers } = JSON.parse(readFileSync(join(import.meta.dirname, "block-answers.json"), "utf8")) as Answers;
const types = Object.keys(BLOCK_LAYOUTS) as BlockType[];
const decode = (base64: string): Uint8Array => new Uint8Array(Buffer.from(base64, "base64"));

function load(type: BlockType): { readonly blocks: Uint8Array; readonly values: Float32Array } {
  const { blocks, float32 } = answers[type];
  return { blocks: decode(blocks), values: new Float32Array(decode(float32).buffer) };
}

describe.each(types)("%s", (type) => {
  test("gives the values of the gguf package, bit for bit", () => {
    const { blocks, values } = load(type);
    expect(values.length).toBe((blocks.length / BLOCK_LAYOUTS[type].bytes) * BLOCK_LAYOUTS[type].elements);
    const output = new Float32Array(values.length);
    expandInto(blocks, type, 0, new Uint8Array(output.buffer))(0, 0, values.length);
    expect(new Uint32Array(output.buffer)).toEqual(new Uint32Array(values.buffer));
  });

  test("cuts inside blocks, and begins inside one", () => {
    const { blocks, values } = load(type);
    const { elements, bytes } = BLOCK_LAYOUTS[type];
    // Positions count from element `begin` of the whole; the first block of all is not there.
    const begin = elements + 5;
    for (const [from, count] of [
      [0, 1],
      [0, elements],
      [3, elements - 8],
      [elements - 6, elements],
    ] as const) {
      const output = new Float32Array(count + 2).fill(NaN);
      expandInto(blocks.subarray(bytes), type, begin, new Uint8Array(output.buffer))(from, 1, count);
      expect([...output]).toEqual([NaN, ...values.subarray(begin + from, begin + from + count), NaN]);
    }
  });
});
