import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DATA_TYPE_BYTES, type DataType, type Weight, type WeightSource } from "../../../src/model/graph.ts";
import type { LeafSource } from "../../../src/shards/segments.ts";
import { materialiseWeight } from "../../../src/shards/weight.ts";
import { evaluate, float16Value, indicesOf, readFileRange, sourceOf } from "./support.ts";

let folder: string;
let file: string;
/** 4 KiB in which every 2 bytes are a small bfloat16 or float16, and every 4 a float32. */
const bytes = Uint8Array.from({ length: 4096 }, (_, i) => (i % 2 === 0 ? (i * 37) % 251 : 0x3c + (i % 3)));

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "shardrun-weight-"));
  file = join(folder, "model.safetensors");
  writeFileSync(file, bytes);
});
afterAll(() => rmSync(folder, { recursive: true }));

const leafOf = (dataType: DataType, shape: number[], offset: number): Extract<LeafSource, { kind: "file" }> => ({
  kind: "file",
  file,
  offset,
  dataType,
  shape,
});
const weightOf = (dataType: DataType, shape: readonly number[], source: WeightSource): Weight => ({
  name: "w",
  dataType,
  shape,
  source,
});
const toFloats = (data: Uint8Array) => [...new Float32Array(data.buffer, data.byteOffset, data.byteLength / 4)];

/** A leaf's values as float32, read one by one. */
function leafFloats(leaf: LeafSource): number[] {
  if (leaf.kind === "blocks") throw new Error("blocks are read below");
  const stored = leaf.kind === "inline" ? leaf.bytes : bytes.subarray(leaf.offset);
  const view = new DataView(stored.buffer, stored.byteOffset);
  const valueAt = (i: number): number => {
    if (leaf.dataType === "float32") return view.getFloat32(4 * i, true);
    const half = view.getUint16(2 * i, true);
    if (leaf.dataType === "float16") return float16Value(half);
    return new Float32Array(Uint32Array.of(half << 16).buffer)[0]!;
  };
  const plus = leaf.kind === "file" ? (leaf.plus ?? 0) : 0;
  return indicesOf(leaf.shape).map((_, i) => Math.fround(valueAt(i) + plus));
}

describe("materialiseWeight", () => {
  test("is the obvious evaluation, for every nesting, stored type and alignment", () => {
    const dataType = fc.constantFrom<DataType>("float32", "float16", "bfloat16");
    const leaf = (shape: number[]) =>
      fc
        .tuple(dataType, fc.integer({ min: 0, max: 3000 }), fc.constantFrom("inline", "file", "shifted"))
        .map(([type, offset, kind]): LeafSource => {
          if (kind === "file") return leafOf(type, shape, offset);
          if (kind === "shifted") return { ...leafOf(type, shape, offset), plus: 1 };
          const numBytes = shape.reduce((product, size) => product * size, DATA_TYPE_BYTES[type]);
          return { kind: "inline", dataType: type, shape, bytes: bytes.subarray(offset, offset + numBytes) };
        });
    fc.assert(
      fc.property(sourceOf(leaf), (source) => {
        const expected = evaluate(source, leafFloats);
        const { data } = materialiseWeight(weightOf("float32", expected.shape, source), readFileRange);
        expect(toFloats(data)).toEqual(expected.values);
      }),
      { numRuns: 500 },
    );
  });

  test("maps what is one range of a file in the wanted type, and asks for no byte more", () => {
    const asked: unknown[] = [];
    const mapFile = (...range: [string, number, number]) => {
      asked.push(range);
      return readFileRange(...range);
    };
    const whole = leafOf("bfloat16", [6, 4], 100);
    expect(materialiseWeight(weightOf("bfloat16", [6, 4], whole), mapFile).mapped).toBe(true);
    const rows: WeightSource = {
      kind: "take",
      of: whole,
      axis: 0,
      runs: [
        { begin: 2, end: 3 },
        { begin: 3, end: 5 },
      ],
    };
    const { data, mapped } = materialiseWeight(weightOf("bfloat16", [3, 4], rows), mapFile);
    expect(mapped).toBe(true);
    expect(data).toEqual(bytes.subarray(116, 140));
    expect(asked).toEqual([
      [file, 100, 48],
      [file, 116, 24],
    ]);
  });

  test.each<[string, Weight]>([
    ["another type", weightOf("float32", [2, 3], leafOf("bfloat16", [2, 3], 0))],
    ["what is shifted", weightOf("float32", [2, 3], { ...leafOf("float32", [2, 3], 0), plus: 1 })],
    ["an address that is no multiple of the element", weightOf("float32", [2, 3], leafOf("float32", [2, 3], 2))],
    [
      "columns",
      weightOf("float32", [2, 2], {
        kind: "take",
        of: leafOf("float32", [2, 3], 0),
        axis: 1,
        runs: [{ begin: 0, end: 2 }],
      }),
    ],
  ])("copies %s", (_, weight) => {
    const located = withFile(weight);
    const { mapped, data } = materialiseWeight(located, readFileRange);
    expect(mapped).toBe(false);
    expect(toFloats(data)).toEqual(evaluate(located.source, leafFloats).values);
  });

  test("a rank's empty part has no bytes and reads nothing", () => {
    const nothing: WeightSource = { kind: "take", of: leafOf("float32", [4, 3], 0), axis: 0, runs: [] };
    const refuse = () => {
      throw new Error("read");
    };
    expect(materialiseWeight(weightOf("float32", [0, 3], nothing), refuse)).toEqual({
      data: new Uint8Array(0),
      mapped: false,
    });
  });
});

/** The same weight, with the test's file in its leaf: a table of cases is made before the file is. */
function withFile(weight: Weight): Weight {
  const locate = (source: WeightSource): WeightSource => {
    if (source.kind === "file") return { ...source, file };
    return source.kind === "take" ? { ...source, of: locate(source.of) } : source;
  };
  return { ...weight, source: locate(weight.source) };
}

describe("refusals", () => {
  const refusal = (weight: Weight, code: string, message: string) =>
    expect(() => materialiseWeight(weight, readFileRange)).toThrow(expect.objectContaining({ code, message }));

  test("a file that became shorter", () => {
    const short = join(folder, "short.safetensors");
    writeFileSync(short, bytes);
    truncateSync(short, 1000);
    refusal(
      weightOf("float32", [10, 10], { kind: "file", file: short, offset: 800, dataType: "float32", shape: [10, 10] }),
      "ERR_SHARDRUN_MODEL",
      `Weight "w" cannot be read: ${short} now has 1000 bytes, and the weight ends at byte 1200. ` +
        "The file has changed since its header was read; load again when it is complete.",
    );
  });

  test("a file that is gone", () => {
    const gone = join(folder, "gone.safetensors");
    refusal(
      weightOf("float32", [1], { kind: "file", file: gone, offset: 0, dataType: "float32", shape: [1] }),
      "ERR_SHARDRUN_MODEL",
      `Weight "w" cannot be read: ${gone} has gone since its header was read ` +
        `(ENOENT: no such file or directory, stat '${gone}'). Put the file back and load again.`,
    );
  });

  test("a mapping that fails", () => {
    const weight = weightOf("float32", [1], leafOf("float32", [1], 0));
    const failing = () => {
      throw new Error("mmap: Cannot allocate memory");
    };
    expect(() => materialiseWeight(weight, failing)).toThrow(
      expect.objectContaining({
        code: "ERR_SHARDRUN_MODEL",
        message: `Mapping weight "w" from ${file} failed: mmap: Cannot allocate memory`,
        cause: expect.objectContaining({ message: "mmap: Cannot allocate memory" }),
      }),
    );
  });

  test("a type that cannot be converted", () => {
    refusal(
      weightOf("float32", [4], leafOf("int8", [4], 0)),
      "ERR_SHARDRUN_MODEL",
      'Weight "w" is stored as int8 and wanted as float32; only float16, bfloat16, float32 and the blocks of GGUF files are converted, to float32. ' +
        "Store it in one of these types.",
    );
  });

  test("a source of another shape than declared", () => {
    refusal(
      weightOf("float32", [2, 2], leafOf("float32", [4], 0)),
      "ERR_SHARDRUN_INTERNAL",
      'Weight "w" is declared as [2, 2] but its source has the shape [4].',
    );
  });
});

describe("weights in blocks", () => {
  const answersFile = join(import.meta.dirname, "block-answers.json");
  const { answers } = JSON.parse(readFileSync(answersFile, "utf8")) as {
    readonly answers: Readonly<Record<string, { readonly blocks: string; readonly float32: string }>>;
  };
  /** 3 blocks of 32, which 4 copies make [4, 96]. */
  const stored = Buffer.from(answers["Q4_1"]!.blocks, "base64");
  const row = [...new Float32Array(new Uint8Array(Buffer.from(answers["Q4_1"]!.float32, "base64")).buffer)];
  const blocks = (): LeafSource => {
    const path = join(folder, "model.gguf");
    // The first 7 bytes are not its own.
    writeFileSync(path, Buffer.concat([Buffer.alloc(7), stored, stored, stored, stored]));
    return { kind: "blocks", file: path, offset: 7, blockType: "Q4_1", shape: [4, 96] };
  };

  test("whole, and cut anywhere along both axes", () => {
    const whole = materialiseWeight(weightOf("float32", [4, 96], blocks()), readFileRange);
    expect(whole.mapped).toBe(false);
    expect(toFloats(whole.data)).toEqual([...row, ...row, ...row, ...row]);

    const columns: WeightSource = { kind: "take", of: blocks(), axis: 1, runs: [{ begin: 40, end: 70 }] };
    const both: WeightSource = {
      kind: "take",
      of: columns,
      axis: 0,
      runs: [
        { begin: 3, end: 4 },
        { begin: 1, end: 2 },
      ],
    };
    const part = row.slice(40, 70);
    const cut = materialiseWeight(weightOf("float32", [2, 30], both), readFileRange);
    expect(toFloats(cut.data)).toEqual([...part, ...part]);
  });

  test("reads a leaf once, however many rows are taken out of order", () => {
    const runs = [3, 1, 2, 0].map((begin) => ({ begin, end: begin + 1 }));
    const reads: number[][] = [];
    const weight = weightOf("float32", [4, 96], { kind: "take", of: blocks(), axis: 0, runs });
    materialiseWeight(weight, (path, offset, numBytes) => {
      reads.push([offset, numBytes]);
      return readFileRange(path, offset, numBytes);
    });
    expect(reads).toEqual([[7, 4 * stored.length]]);
  });

  test("become float32 and nothing else", () => {
    expect(() => materialiseWeight(weightOf("float16", [4, 96], blocks()), readFileRange)).toThrow(
      'Weight "w" is stored as Q4_1 and wanted as float16; only float16, bfloat16, float32 and the blocks of GGUF files ' +
        "are converted, to float32. Store it in one of these types.",
    );
  });
});
