/** Our declaration of onnxruntime's C API has each function at its place in the table, and each member of a custom op in order. */
import { readFileSync } from "node:fs";
import { expect, test } from "@jest/globals";

const header = readFileSync("native/onnxruntime/api.h", "utf8");

/** [section] -> its lines, of onnxruntime-api-members.txt. */
function readMembers(section: string): string[] {
  const text = readFileSync("test/support/onnxruntime-api-members.txt", "utf8");
  const begin = text.indexOf(`[${section}]\n`) + section.length + 3;
  return text.slice(begin).split("\n\n")[0]!.trim().split("\n");
}

test("every function that we call is at its index", () => {
  const functions = [...header.matchAll(/X\((\d+),\s*[^,]+,\s*(\w+),/g)].map(([, index, name]) => `${index} ${name}`);
  const members = readMembers("OrtApi");
  const indexOf = (line: string) => members.indexOf(line.split(" ")[1]!);
  expect(functions.length).toBeGreaterThan(40);
  expect(functions).toEqual(functions.map((line) => `${indexOf(line)} ${line.split(" ")[1]}`));
});

test("a custom op has the members that onnxruntime reads, in its order", () => {
  const struct = /struct CustomOp \{\n(?<body>.*?)\n\};/s.exec(header)!.groups!.body!;
  const members = [...struct.matchAll(/\(\*(\w+)\)\(|uint32_t (\w+);/g)].map(([, method, field]) => method ?? field);
  expect(members).toEqual(readMembers("OrtCustomOp"));
});
