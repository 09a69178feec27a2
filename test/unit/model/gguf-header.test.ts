import { describe, expect, test } from "@jest/globals";
import { join } from "node:path";
import { readGgufHeader } from "../../../src/model/gguf/header.ts";
import { useTemporaryDirectory } from "../../support/temporary-directory.ts";
import { float32Tensor, writeGguf, type GgufToWrite } from "../../support/write-gguf.ts";

const root = useTemporaryDirectory();
const file = join(root, "model.gguf");
const DAMAGED = "The file is damaged or truncated: download or convert it again.";
const vector = (name: string, length: number) => float32Tensor(name, [length], new Float32Array(length).fill(1));

function read(contents: GgufToWrite) {
  writeGguf(file, contents);
  return readGgufHeader(file);
}

/** The whole message. */
function refusalOf(contents: GgufToWrite): unknown {
  try {
    return read(contents);
  } catch (error) {
    return (error as Error).message;
  }
}

describe("a good file", () => {
  test("metadata of every kind that models have", () => {
    const { metadata } = read({
      metadata: {
        count: 7,
        big: 2n ** 40n,
        half: 0.5,
        yes: true,
        name: "ü",
        texts: ["a", "", "▁b"],
        numbers: [1, 2, 3],
        none: [],
      },
    });
    expect(metadata.integer("count")).toBe(7);
    expect(metadata.integer("big")).toBe(2 ** 40);
    expect(metadata.positive("half")).toBe(0.5);
    expect(metadata.boolean("yes", false)).toBe(true);
    expect(metadata.text("name")).toBe("ü");
    expect(metadata.strings("texts")).toEqual(["a", "", "▁b"]);
    expect(metadata.numbers("numbers")).toEqual([1, 2, 3]);
    expect(metadata.numbers("none")).toEqual([]);
    expect(metadata.has("absent")).toBe(false);
  });

  test("a header of more than one read", () => {
    const texts = Array.from({ length: 40_000 }, (_, index) => `token ${index} `.repeat(8));
    const { metadata, tensors } = read({ metadata: { texts, after: 1 }, tensors: [vector("a", 3)] });
    expect(metadata.strings("texts")).toEqual(texts);
    expect(metadata.integer("after")).toBe(1);
    expect(tensors.map(({ name }) => name)).toEqual(["a"]);
  });

  test("tensors: outermost axis first, at absolute places", () => {
    const blocks = { name: "b", shape: [2, 64], type: 2, bytes: new Uint8Array(2 * 2 * 18) };
    const unreadable = { name: "c", shape: [1, 256], type: 10, bytes: new Uint8Array(84) };
    const { tensors } = read({ metadata: { "general.alignment": 32 }, tensors: [vector("a", 3), blocks, unreadable] });
    const first = tensors[0]!;
    expect(first.offset % 32).toBe(0);
    expect(tensors).toEqual([
      { name: "a", file, type: "F32", shape: [3], offset: first.offset },
      { name: "b", file, type: "Q4_0", shape: [2, 64], offset: first.offset + 32 },
      { name: "c", file, type: "Q2_K", shape: [1, 256], offset: first.offset + 32 + 96 },
    ]);
  });
});

describe("a file that is none", () => {
  test("missing", () => {
    const missing = join(root, "absent.gguf");
    expect(() => readGgufHeader(missing)).toThrow(
      `Reading "${missing}" failed: ENOENT: no such file or directory, open '${missing}'. Check the path of the model.`,
    );
  });

  test.each([
    [
      { magic: "GGML" },
      'it does not begin with "GGUF", so it is no GGUF file. Pass the directory of a checkpoint, or a GGUF file.',
    ],
    [
      { cutAt: 3 },
      'it does not begin with "GGUF", so it is no GGUF file. Pass the directory of a checkpoint, or a GGUF file.',
    ],
    [{ version: 1 }, "it is of GGUF version 1; supported are 2 and 3. Convert it again."],
    [{ version: 3 << 24 }, "its numbers are big-endian. Convert it to little-endian."],
  ])("%j", (contents, problem) => {
    expect(refusalOf(contents)).toBe(`Reading "${file}" failed: ${problem}`);
  });
});

describe("a header that lies or ends too early", () => {
  test("cut anywhere, it is refused", () => {
    const whole = { metadata: { texts: ["a", "b"], name: "model" }, tensors: [vector("a", 3), vector("b", 8)] };
    const { tensors } = read(whole);
    const end = tensors[1]!.offset + 32;
    for (let cutAt = 8; cutAt < end; cutAt++) {
      expect(refusalOf({ ...whole, cutAt })).toMatch(
        /^Reading ".*model\.gguf" failed: .*but the file ends after \d+\. The file is damaged or truncated: download or convert it again\.$/,
      );
    }
  });

  const alignment = { metadata: { "general.alignment": 32 } };
  test.each<[string, GgufToWrite, string]>([
    [
      "more entries than there are",
      { claimedEntries: 1e15 },
      "its header goes on to byte 65, but the file ends after 64",
    ],
    ["a header without end", { claimedTensors: 2 ** 40 }, "its header goes on to byte 65, but the file ends after 64"],
    [
      "a key twice",
      {
        metadata: [
          ["a", 1],
          ["a", 2],
        ],
      },
      'its metadata has the key "a" twice',
    ],
    ["a tensor twice", { tensors: [vector("a", 8), vector("a", 8)] }, 'it has the tensor "a" twice'],
    [
      "too many axes",
      { tensors: [{ ...vector("a", 8), shape: [1, 2, 1, 2, 2] }] },
      'tensor "a" has 5 axes, more than the 4 that a tensor can have',
    ],
    [
      "an offset that is not aligned",
      { tensors: [{ ...vector("a", 8), claimedOffset: 4 }] },
      'tensor "a" begins at byte 100, which is no multiple of 32',
    ],
    [
      "tensors over each other",
      { tensors: [vector("a", 16), { ...vector("b", 8), claimedOffset: 32 }] },
      'tensor "b" overlaps tensor "a" by 32 bytes',
    ],
    [
      "a tensor beyond the end",
      { tensors: [{ ...vector("a", 8), shape: [1000, 1000] }] },
      'tensor "a" [1000, 1000] F32 ends at byte 4000128, but the file ends after 160',
    ],
    [
      "a shape that no file can hold",
      { tensors: [{ ...vector("a", 8), shape: [2 ** 52, 2 ** 52] }] },
      'tensor "a" [4503599627370496, 4503599627370496] F32 ends at byte 8.112963841460668e+31, but the file ends after 160',
    ],
    [
      "rows that are not whole blocks",
      { tensors: [{ ...vector("a", 8), shape: [2, 40], type: 8 }] },
      'tensor "a" [2, 40] has rows that are no multiple of the 32 elements of a Q8_0 block',
    ],
  ])("%s", (_, contents, problem) => {
    expect(refusalOf({ ...alignment, ...contents })).toBe(`Reading "${file}" failed: ${problem}. ${DAMAGED}`);
  });
});
