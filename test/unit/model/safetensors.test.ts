import { describe, expect, test } from "@jest/globals";
import { truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ModelError } from "../../../src/errors.ts";
import { readSafetensorsHeader } from "../../../src/model/safetensors.ts";
import { useTemporaryDirectory } from "../../support/temporary-directory.ts";
import { writeRawSafetensors, writeSafetensors } from "../../support/write-safetensors.ts";

const directory = useTemporaryDirectory();
const file = join(directory, "model.safetensors");

const tensor = (dtype: unknown, shape: unknown, dataOffsets: unknown) => ({ dtype, shape, data_offsets: dataOffsets });

/** The error for a file with this header (an object, or text as it is) and this many bytes of data. */
async function errorOf(header: unknown, dataBytes: number, claimedLength?: bigint): Promise<ModelError> {
  const text = typeof header === "string" ? header : JSON.stringify(header);
  writeRawSafetensors(file, text, new Uint8Array(dataBytes), claimedLength);
  const error: unknown = await readSafetensorsHeader(file).catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(ModelError);
  return error as ModelError;
}

const damaged = (problem: string): string =>
  `Reading "${file}" failed: ${problem}. The file is damaged or truncated: download or convert it again.`;

test("finds every tensor's bytes", async () => {
  const tensors = [
    { name: "b", shape: [2, 3], values: Float32Array.from([1, 2, 3, 4, 5, 6]) },
    { name: "a", shape: [], values: Float32Array.from([7]) },
    { name: "empty", shape: [0, 5], values: new Float32Array() },
  ];
  writeSafetensors(file, tensors, "BF16");
  const header = await readSafetensorsHeader(file);
  const dataOffset = header.get("b")!.offset;
  expect(Object.fromEntries(header)).toEqual({
    b: { name: "b", file, dtype: "BF16", shape: [2, 3], offset: dataOffset, numBytes: 12 },
    a: { name: "a", file, dtype: "BF16", shape: [], offset: dataOffset + 12, numBytes: 2 },
    empty: { name: "empty", file, dtype: "BF16", shape: [0, 5], offset: dataOffset + 14, numBytes: 0 },
  });
});

test("a name may look like an object's own member", async () => {
  writeRawSafetensors(file, '{"__proto__":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', new Uint8Array(4));
  expect([...(await readSafetensorsHeader(file)).keys()]).toEqual(["__proto__"]);
});

test("a file that is not there", async () => {
  const missing = join(directory, "missing.safetensors");
  await expect(readSafetensorsHeader(missing)).rejects.toMatchObject({
    code: "ERR_SHARDRUN_MODEL",
    message: `Reading "${missing}" failed: ENOENT: no such file or directory, open '${missing}'.`,
  });
});

test("a directory in place of a file", async () => {
  await expect(readSafetensorsHeader(directory)).rejects.toThrow(
    new ModelError(`Reading "${directory}" failed: it is not a file.`),
  );
});

describe("damaged files", () => {
  test("an empty file", async () => {
    writeFileSync(file, "");
    await expect(readSafetensorsHeader(file)).rejects.toThrow(
      new ModelError(damaged("it has 0 bytes, fewer than the 8 of the header's length")),
    );
  });

  test("truncated in the data", async () => {
    writeSafetensors(file, [{ name: "a", shape: [4], values: new Float32Array(4) }]);
    truncateSync(file, (await readSafetensorsHeader(file)).get("a")!.offset + 10);
    await expect(readSafetensorsHeader(file)).rejects.toThrow(
      new ModelError(damaged('tensor "a" ends at byte 16 of the data, but the file holds 10 bytes of data')),
    );
  });

  test.each([
    ["header length past the end", "{}", 3, 1000n, "its header claims 1000 bytes, but the file ends after 13"],
    [
      "header length of 2^63",
      "{}",
      0,
      2n ** 63n,
      "its header claims 9223372036854775808 bytes, more than the 100000000 that the format allows",
    ],
  ])("%s", async (_, header, dataBytes, claimed, problem) => {
    expect((await errorOf(header, dataBytes, claimed)).message).toBe(damaged(problem));
  });

  test("a header that is not JSON, or not an object", async () => {
    expect((await errorOf("{]", 0)).message).toMatch(`Reading "${file}" failed: not valid JSON (`);
    expect((await errorOf("[]", 0)).message).toBe(`Reading "${file}" failed: expected a JSON object.`);
  });

  const twice =
    '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"\\u0061":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}';
  test.each([
    ["the same name twice", twice, 1, 'its header names tensor "a" twice'],
    ["no description", { a: 5 }, 0, 'tensor "a" has no description'],
    ["unknown dtype", { a: tensor("F99", [1], [0, 4]) }, 4, 'tensor "a" has an unknown dtype "F99"'],
    [
      "dtype that is an object's own member",
      { a: tensor("toString", [1], [0, 4]) },
      4,
      'tensor "a" has an unknown dtype "toString"',
    ],
    ["no dtype", { a: { shape: [1] } }, 4, 'tensor "a" has an unknown dtype undefined'],
    [
      "negative size",
      { a: tensor("F32", [-1], [0, 4]) },
      4,
      'tensor "a" has a shape that is not a list of sizes: [-1]',
    ],
    [
      "size of 1.5",
      { a: tensor("F32", [1.5], [0, 4]) },
      4,
      'tensor "a" has a shape that is not a list of sizes: [1.5]',
    ],
    [
      "size of 2^63",
      '{"a":{"dtype":"F32","shape":[9223372036854775808],"data_offsets":[0,4]}}',
      4,
      'tensor "a" has a shape that is not a list of sizes: [9223372036854776000]',
    ],
    [
      "shape whose product overflows",
      { a: tensor("F32", [2 ** 52, 2 ** 52, 16], [0, 4]) },
      4,
      `tensor "a" [4503599627370496, 4503599627370496, 16] F32 needs ${2n ** 110n} bytes, but its data_offsets hold 4`,
    ],
    [
      "wrong size for dtype",
      { a: tensor("F16", [2], [0, 8]) },
      8,
      'tensor "a" [2] F16 needs 4 bytes, but its data_offsets hold 8',
    ],
    [
      "negative offset",
      { a: tensor("F32", [1], [-4, 0]) },
      4,
      'tensor "a" has data_offsets that are not two byte offsets: [-4,0]',
    ],
    ["one offset", { a: tensor("F32", [1], [0]) }, 4, 'tensor "a" has data_offsets that are not two byte offsets: [0]'],
    [
      "end before begin",
      { a: tensor("F32", [1], [4, 0]) },
      4,
      'tensor "a" begins at byte 4 and ends before it, at byte 0',
    ],
    [
      "offset past the end",
      { a: tensor("F32", [1], [4, 8]) },
      4,
      'tensor "a" ends at byte 8 of the data, but the file holds 4 bytes of data',
    ],
    [
      "overlap",
      { a: tensor("F32", [2], [0, 8]), b: tensor("F32", [2], [4, 12]) },
      12,
      'tensor "b" overlaps tensor "a" by 4 bytes',
    ],
    [
      "the same bytes twice",
      { a: tensor("F32", [1], [0, 4]), b: tensor("F32", [1], [0, 4]) },
      4,
      'tensor "b" overlaps tensor "a" by 4 bytes',
    ],
    [
      "hole",
      { a: tensor("F32", [1], [0, 4]), b: tensor("F32", [1], [8, 12]) },
      12,
      '4 bytes between tensor "a" and tensor "b" belong to no tensor',
    ],
    ["bytes left over", { a: tensor("F32", [1], [0, 4]) }, 9, '5 bytes after tensor "a" belong to no tensor'],
  ])("%s", async (_, header, dataBytes, problem) => {
    expect((await errorOf(header, dataBytes)).message).toBe(damaged(problem));
  });
});
