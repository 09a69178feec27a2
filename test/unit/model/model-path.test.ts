/** What the path of a model names, and what is said of one that names no model. */
import { describe, expect, test } from "@jest/globals";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ModelError } from "../../../src/errors.ts";
import { isGgufFile } from "../../../src/model/model-path.ts";
import { useTemporaryDirectory } from "../../support/temporary-directory.ts";

const root = useTemporaryDirectory();
const models = join(root, "models");
mkdirSync(models);
mkdirSync(join(models, "stories260K"));
mkdirSync(join(models, "directory.gguf"));
for (const name of ["Smol.Q4_1.gguf", "Smol.Q8_0.gguf", "whatever", "notes.txt"]) writeFileSync(join(models, name), "");
symlinkSync("loop", join(models, "loop"));

test.each([
  ["stories260K", false],
  ["directory.gguf", false],
  ["Smol.Q4_1.gguf", true],
  ["whatever", true],
])("%s", (name, expected) => {
  expect(isGgufFile(join(models, name))).toBe(expected);
});

describe("a path that names no model", () => {
  const EXPECTED = "expected a checkpoint directory or a GGUF file.";

  test.each([
    ["Smol.Q4_1.ggufx", ', "ROOT/models/Smol.Q4_1.gguf" does'],
    ["smol.q8_0.gguf", ', "ROOT/models/Smol.Q8_0.gguf" does'],
    ["Smol.Q8_0", ', "ROOT/models/Smol.Q8_0.gguf" does'],
    ["story260k", ""],
    ["stories26K", ', "ROOT/models/stories260K" does'],
    ["note.txt", ""],
    ["nothing-like-it.gguf", ""],
    ["Smol.Q4_1.gguf/config.json", ""],
    ["../nowhere/model", ""],
  ])("%s", (name, hint) => {
    const path = join(models, name);
    expect(() => isGgufFile(path)).toThrow(
      new ModelError(`Model "${path}" does not exist${hint.replace("ROOT", root)}: ${EXPECTED}`),
    );
  });

  test("a device", () => {
    expect(() => isGgufFile("/dev/null")).toThrow(
      new ModelError(`Model "/dev/null" is neither a directory nor a file: ${EXPECTED}`),
    );
  });

  test("a link to itself", () => {
    const path = join(models, "loop");
    expect(() => isGgufFile(path)).toThrow(
      `Looking for the model "${path}" failed: ELOOP: too many symbolic links encountered, stat '${path}'. Check its path.`,
    );
  });
});
