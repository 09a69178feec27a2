import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { beforeEach, describe, expect, test } from "@jest/globals";
import { describeInstallation } from "../../../src/launch/installation.ts";
import { useTemporaryDirectory } from "../../support/temporary-directory.ts";

const project = join(useTemporaryDirectory(), "project");
const otherPlatform = process.arch === "x64" ? "linux/arm64" : "linux/x64";

function write(files: Readonly<Record<string, string | object>>): void {
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(project, name)), { recursive: true });
    writeFileSync(join(project, name), typeof content === "string" ? content : JSON.stringify(content));
  }
}

/** shardrun with its parts; `needs` are names of packages. */
function writeShardrun(directory: string, ...needs: string[]): void {
  const dependencies = Object.fromEntries(needs.map((name) => [name, "1"]));
  write({
    [`${directory}package.json`]: { version: "1.2.3", dependencies, devDependencies: { jest: "1" } },
    [`${directory}dist/cli.js`]: "code",
    [`${directory}dist/cli.d.ts`]: "types",
    [`${directory}dist/cli.js.map`]: "map",
    [`${directory}dist/.built`]: "",
    [`${directory}src/cli.ts`]: "source",
    [`${directory}native/build/Release/shardrun.node`]: "addon",
    [`${directory}native/build/Release/obj.target/addon.o`]: "object",
    [`${directory}native/build/Release/.deps/addon.d`]: "dependencies",
    [`${directory}models/demo-stories/config.json`]: "{}",
  });
}

const OWN = ["dist/cli.js", "models/demo-stories/config.json", "native/build/Release/shardrun.node", "package.json"];

beforeEach(() => rmSync(project, { recursive: true, force: true }));

test("a checkout: what running needs of it and of its packages, at any depth, and nothing else", () => {
  writeShardrun("", "a", "@scope/b");
  write({
    "node_modules/jest/package.json": { version: "1" },
    "node_modules/a/package.json": { version: "1", dependencies: { c: "1" } },
    "node_modules/a/index.js": "a",
    "node_modules/a/README.md": "text",
    "node_modules/a/index.ts": "source",
    "node_modules/a/node_modules/c/package.json": { version: "1", dependencies: { "@scope/b": "1" } },
    "node_modules/c/package.json": { version: "2" }, // of jest: a has its own
    "node_modules/@scope/b/package.json": { version: "1", dependencies: { a: "1" } },
    [`node_modules/@scope/b/bin/${process.platform}/${process.arch}/lib.so.1`]: "library",
    [`node_modules/@scope/b/bin/${otherPlatform}/lib.so.1`]: "other",
    "node_modules/@scope/b/bin/win32/x64/lib.dll": "other",
  });
  const { root, directory, files, numBytes } = describeInstallation(project);
  expect({ root, directory }).toEqual({ root: project, directory: "" });
  expect(files).toEqual(
    [
      ...OWN,
      `node_modules/@scope/b/bin/${process.platform}/${process.arch}/lib.so.1`,
      "node_modules/@scope/b/package.json",
      "node_modules/a/index.js",
      "node_modules/a/node_modules/c/package.json",
      "node_modules/a/package.json",
    ].toSorted(),
  );
  expect(numBytes).toBeGreaterThan(100);
});

test("a dependency of another package: its packages lie beside it", () => {
  writeShardrun("node_modules/shardrun/", "a", "b");
  write({
    "package.json": { dependencies: { shardrun: "1" } },
    "node_modules/a/package.json": { version: "1" },
    "node_modules/shardrun/node_modules/b/package.json": { version: "1" },
  });
  const { root, directory, files } = describeInstallation(join(project, "node_modules/shardrun"));
  expect({ root, directory }).toEqual({ root: join(project, "node_modules"), directory: "shardrun" });
  expect(files).toEqual(
    ["a/package.json", "shardrun/node_modules/b/package.json", ...OWN.map((file) => `shardrun/${file}`)].toSorted(),
  );
});

describe("the name is another as soon as what is copied is", () => {
  const nameOf = () => describeInstallation(project).name;

  test("version and content", () => {
    writeShardrun("");
    const name = nameOf();
    expect(name).toMatch(/^1\.2\.3-[0-9a-f]{16}$/);
    expect(nameOf()).toBe(name);
    write({ "src/cli.ts": "other source" });
    expect(nameOf()).toBe(name);
    write({ "dist/cli.js": "cod3" });
    expect(nameOf()).not.toBe(name);
    write({ "dist/cli.js": "code", "dist/more.js": "" });
    expect(nameOf()).not.toBe(name);
  });
});

test("what is missing is named", () => {
  writeShardrun("", "a");
  expect(() => describeInstallation(project)).toThrow(
    `The package a, which ${project} needs, is not installed. Run npm ci there.`,
  );
  writeShardrun("");
  rmSync(join(project, "native"), { recursive: true });
  expect(() => describeInstallation(project)).toThrow(
    `This installation of shardrun is not whole: there is no ${project}/native/build/Release.`,
  );
});
