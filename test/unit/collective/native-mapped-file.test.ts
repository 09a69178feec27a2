/** Files of weights: mapped at any offset, and used where they lie. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "@jest/globals";
import { native, type SessionWeight } from "../../../src/collective/native.ts";
import { UsageError } from "../../../src/errors.ts";
import { encodeModel } from "../../../src/model/onnx-format.ts";
import { useTemporaryDirectory } from "../../support/temporary-directory.ts";
import {
  connectAlone,
  errorOf,
  float32,
  graph,
  node,
  numbersOf,
  openRuntime,
  value,
} from "../../support/tiny-graph.ts";

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

test("two sessions read a weight where it is mapped, at the same time", async () => {
  const file = join(directory, "weight");
  // [3, 2] behind 12 bytes of something else, so that no vector's alignment is right
  writeFileSync(file, new Uint8Array(Float32Array.of(7, 7, 7, 1, 2, 3, 4, 5, 6).buffer));
  const product = graph({
    inputs: [value("x", ["B", 3])],
    outputs: [value("y", ["B", 2])],
    nodes: [node("MatMul", ["x", "w"], ["y"])],
    weights: { w: [3, 2] },
  });
  openRuntime();
  const weight: SessionWeight = {
    name: "w",
    dataType: "float32",
    shape: [3, 2],
    data: native().mapFile(file, 12, 24),
  };
  const communicators = [await connectAlone(), await connectAlone()];
  const sessions = await Promise.all(
    communicators.map((communicator) =>
      native().createSession({ model: encodeModel(product), weights: [weight], intraThreads: 1, communicator }),
    ),
  );
  const feeds = [float32("x", [1, 3], [1, 10, 100])];
  const runs = await Promise.all(sessions.map((session) => session.run({ feeds, fetch: ["y"] })));
  expect(runs.map(({ outputs }) => numbersOf(outputs[0]))).toEqual([
    [531, 642],
    [531, 642],
  ]);
  for (const session of sessions) await session.close();
  for (const communicator of communicators) await communicator.close();
});
