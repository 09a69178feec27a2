import { expect, test } from "@jest/globals";
import { decodeContent, encodeFrame, type Frame, FrameReader } from "../../../src/launch/frames.ts";

const FRAMES = [
  encodeFrame("job", 0, { host: "é" }),
  encodeFrame("stdout", 3, Buffer.from([0, 255, 10])),
  encodeFrame("stdinEnd", 70_000),
];

function readIn(chunkBytes: number): Frame[] {
  const bytes = Buffer.concat(FRAMES);
  const reader = new FrameReader();
  const frames: Frame[] = [];
  for (let start = 0; start < bytes.length; start += chunkBytes) {
    frames.push(...reader.read(bytes.subarray(start, start + chunkBytes)));
  }
  return frames;
}

test.each([1, 2, 5, 9, 10, 1000])("frames survive chunks of %i bytes", (chunkBytes) => {
  const frames = readIn(chunkBytes);
  expect(frames.map(({ kind, rank }) => [kind, rank])).toEqual([
    ["job", 0],
    ["stdout", 3],
    ["stdinEnd", 70_000],
  ]);
  expect(decodeContent(frames[0]!)).toEqual({ host: "é" });
  expect([...frames[1]!.payload]).toEqual([0, 255, 10]);
  expect(frames[2]!.payload).toHaveLength(0);
});

test("a huge frame in tiny pieces, and what follows it in the last of them", () => {
  const payload = Buffer.alloc(48 * 2 ** 20, "shard");
  const bytes = Buffer.concat([encodeFrame("job", 1, payload), encodeFrame("stdinEnd", 2)]);
  const reader = new FrameReader();
  const frames: Frame[] = [];
  const pieceBytes = 512; // copied anew with each piece, this would be 2 TB
  for (let start = 0; start < bytes.length; start += pieceBytes) {
    frames.push(...reader.read(bytes.subarray(start, start + pieceBytes)));
  }
  expect(frames.map(({ kind, rank }) => [kind, rank])).toEqual([
    ["job", 1],
    ["stdinEnd", 2],
  ]);
  expect(frames[0]!.payload.equals(payload)).toBe(true);
});

test("what is no frame is an error at once", () => {
  const garbage = Buffer.from("Welcome to hosta!\n");
  expect(() => [...new FrameReader().read(garbage)]).toThrow(
    expect.objectContaining({
      name: "InternalError",
      code: "ERR_SHARDRUN_INTERNAL",
      message:
        "The launcher and its agent do not understand each other: received a frame of kind 111 with 1466264675 bytes. " +
        "Do both run the same version of shardrun?",
    }),
  );
});
