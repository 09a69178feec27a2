/** A file written in huge pages: the bytes of its parts, wherever these begin and end, and mapped in whole pages. */
import { expect, test } from "@jest/globals";
import { closeSync, existsSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { native } from "../../../src/collective/native.ts";
import { HUGE_PAGE_BYTES, writeHugePages, type FilePart } from "../../../src/shards/huge-pages.ts";
import { useTemporaryDirectory } from "../../support/temporary-directory.ts";

const base = useTemporaryDirectory();
const { mapFile } = native();

function writeFile(name: string, parts: Iterable<FilePart>): string {
  const path = join(base, name);
  const file = openSync(path, "wx");
  writeHugePages(file, parts);
  closeSync(file);
  return path;
}

/** Bytes that tell where in the file they belong. */
function makePart(offset: number, numBytes: number): FilePart {
  return { offset, data: Uint8Array.from({ length: numBytes }, (_, i) => ((offset + i) % 251) + 1) };
}

test.each([
  ["nothing", []],
  ["an empty part", [[0, 0]]],
  ["less than a page", [[0, 10]]],
  ["a page", [[0, HUGE_PAGE_BYTES]]],
  [
    "parts within pages, across them, and with gaps",
    [
      [0, 100],
      [128, HUGE_PAGE_BYTES],
      [3 * HUGE_PAGE_BYTES - 1, 2 * HUGE_PAGE_BYTES + 3],
    ],
  ],
  ["a gap of several pages", [[4 * HUGE_PAGE_BYTES + 5, 7]]],
] as [string, [number, number][]][])("%s", (name, places) => {
  const parts = places.map(([offset, numBytes]) => makePart(offset, numBytes));
  const expected = new Uint8Array(
    Math.max(0, ...parts.map(({ offset, data }) => (data.length > 0 ? offset + data.length : 0))),
  );
  for (const { offset, data } of parts) expected.set(data, offset);
  expect(readFileSync(writeFile(name, parts)).equals(expected)).toBe(true);
});

test("what is read whole is mapped into huge pages where the system has them, at the same addresses of bytes", () => {
  const path = writeFile("mapped", [makePart(0, 2 * HUGE_PAGE_BYTES)]);
  const bytes = mapFile(path, 10, 2 * HUGE_PAGE_BYTES - 10, { isReadWhole: true });
  expect(bytes[0]).toBe(11);
  expect(bytes.at(-1)).toBe(((2 * HUGE_PAGE_BYTES - 1) % 251) + 1);
  if (!existsSync("/sys/kernel/mm/transparent_hugepage")) return;
  const maps = readFileSync("/proc/self/smaps", "utf8");
  const flags = /VmFlags:(.*)/.exec(maps.slice(maps.indexOf(path)))![1];
  expect(flags).toContain(" hg");
});
