/** Weights: mapped from files at any offset, used where they lie, prepacked once for all sessions of a model. */
import { spawnSync } from "node:child_process";
import { closeSync, openSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "@jest/globals";
import { native } from "../../../src/collective/native.ts";
import { UsageError } from "../../../src/errors.ts";
import { useTemporaryDirectory } from "../../support/temporary-directory.ts";
import { errorOf } from "../../support/tiny-graph.ts";

const directory = useTemporaryDirectory();
describe("a mapped file", () => {
  const file = join(directory, "bytes");
  const bytes = Uint8Array.from({ length: 10_000 }, (_, i) => (i * 7) % 251);
  beforeAll(() => writeFileSync(file, bytes));

  test.each([
    [0, 10_000],
    [1, 3],
    [4095, 2],
    [4096, 5904],
    [9999, 1],
    [10_000, 0],
  ])("from %d, %d bytes", (offset, numBytes) => {
    const mapped = native().mapFile(file, offset, numBytes);
    expect(Buffer.compare(mapped, bytes.subarray(offset, offset + numBytes))).toBe(0);
    expect(mapped.byteOffset % 4096).toBe(numBytes === 0 ? 0 : offset % 4096);
  });

  test.each([
    ["a file that is missing", join(directory, "nothing"), 0, 1, "No such file or directory"],
    ["a directory", directory, 0, 1 << 20, /^bytes \[0, 1048576\) reach past its end at \d+$/],
    ["a range past the end", file, 9_999, 2, "bytes [9999, 10001) reach past its end at 10000"],
    ["a beginning past the end", file, 10_001, 0, "bytes [10001, 10001) reach past its end at 10000"],
  ])("%s", async (_, path, offset, numBytes, reason) => {
    const error = (await errorOf(() => native().mapFile(path, offset, numBytes))) as UsageError;
    expect(error).toBeInstanceOf(UsageError);
    const prefix = `Mapping ${path} failed: `;
    expect(error.message.startsWith(prefix)).toBe(true);
    expect(error.message.slice(prefix.length, -1)).toMatch(reason);
  });
});

describe("sessions of one model", () => {
  // Large enough for malloc to give its memory back at once.
  const SIZE = 3072;
  const WEIGHT_BYTES = SIZE * SIZE * 4;
  const OFFSET = 12;
  const file = join(directory, "weight");

  // Row i is all i / 1024; the weight begins at an odd place.
  beforeAll(() => {
    const descriptor = openSync(file, "w");
    writeSync(descriptor, new Uint8Array(OFFSET));
    for (let i = 0; i < SIZE; ++i) writeSync(descriptor, new Float32Array(SIZE).fill(i / 1024));
    closeSync(descriptor);
  });

  /** In a process of its own, since memory is what is measured. */
  function createTwo(mode: "shared" | "apart"): { readonly added: number[]; readonly answers: number[][] } {
    const script = ["--expose-gc", "test/support/session-memory.mjs", mode, file, String(OFFSET), String(SIZE)];
    const { stdout, stderr } = spawnSync(process.execPath, script, { encoding: "utf8", maxBuffer: 1 << 24 });
    expect(stderr).toBe("");
    return JSON.parse(stdout) as ReturnType<typeof createTwo>;
  }

  test("share one prepacked copy, and answer alike at the same time", () => {
    const { added, answers } = createTwo("shared");
    expect(added[0]).toBeGreaterThan(0.9 * WEIGHT_BYTES);
    expect(added[1]).toBeLessThan(0.2 * WEIGHT_BYTES);
    const expected = Array.from({ length: SIZE }, (_, i) => i * 1.5);
    expect(answers).toEqual([expected, expected]);
  });

  test("have a copy each without a container", () => {
    expect(Math.min(...createTwo("apart").added)).toBeGreaterThan(0.9 * WEIGHT_BYTES);
  });
});
