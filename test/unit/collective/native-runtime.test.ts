/** Opening onnxruntime: the package's own, and libraries that do not serve. Each in a process of its own, since one holds one runtime. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { findRuntimeLibrary } from "../../../src/collective/runtime-library.ts";
import { UsageError } from "../../../src/errors.ts";

const REMEDY = "Install onnxruntime-node with npm ci, or let SHARDRUN_ONNXRUNTIME name another libonnxruntime.";
let directory: string;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "shardrun-runtime-"));
});

afterAll(() => {
  rmSync(directory, { recursive: true });
});

/** What these expressions give in a process of their own, one after the other: a value, or a promise of one, or "class: message". */
function evaluate(...expressions: string[]): unknown[] {
  const script = `
    const addon = require(${JSON.stringify(join(process.cwd(), "native/build/Release/shardrun.node"))});
    const named = (name) => ({ [name]: class extends Error { name = name; } })[name];
    addon.setErrorClasses({ UsageError: named("UsageError"), InternalError: named("InternalError") });
    const attempt = async (act) => { try { return await act(); } catch (error) { return String(error); } };
    (async () => {
      const results = [];
      for (const act of [${expressions.map((expression) => `() => ${expression}`).join()}]) results.push(await attempt(act));
      console.log(JSON.stringify(results));
    })();`;
  const { stdout, stderr } = spawnSync(process.execPath, ["-e", script], { encoding: "utf8" });
  expect(stderr).toBe("");
  return JSON.parse(stdout) as unknown[];
}

/** What opening these libraries, one after the other, gives. */
function open(...paths: string[]): unknown[] {
  return evaluate(...paths.map((path) => `addon.openRuntime(${JSON.stringify(path)})`));
}

/** A shared library with this C source. */
function compile(name: string, source: string): string {
  const library = join(directory, `${name}.so`);
  const compiler = spawnSync("c++", ["-shared", "-fPIC", "-x", "c++", "-", "-o", library], { input: source });
  expect(compiler.stderr.toString()).toBe("");
  return library;
}

/** A library that says it is onnxruntime of this version, and whose functions all return null. */
function compileRuntime(name: string, version: string, table: string): string {
  return compile(
    name,
    `static void* nothing() { return nullptr; }
     static void* functions[512];
     static const void* GetApi(unsigned) { for (auto& f : functions) f = (void*)nothing; return ${table}; }
     static const char* GetVersionString() { return "${version}"; }
     static const struct { const void* (*api)(unsigned); const char* (*version)(); } base = {GetApi, GetVersionString};
     extern "C" const void* OrtGetApiBase() { return &base; }`,
  );
}

test("the package's library opens, again and again", () => {
  const library = findRuntimeLibrary();
  expect(open(library, library)).toEqual(["1.30.0", "1.30.0"]);
});

test("nothing works before it is open", () => {
  const group = `{ id: 0, epoch: 0, rank: 0, worldSize: 1, peers: [{ rank: 0, host: "here", address: "" }], transport: "auto", timeoutMs: 1000 }`;
  const session = "{ model: new Uint8Array(0), weights: [], intraThreads: 1, communicator }";
  const createSession = `(communicator) => addon.createSession(${session})`;
  expect(evaluate(`addon.connect(undefined, ${group}).then(${createSession})`)).toEqual([
    "UsageError: onnxruntime is not open: call openRuntime first.",
  ]);
});

test("a second library is refused", () => {
  const [library, other] = [findRuntimeLibrary(), join(directory, "libonnxruntime.so.1")];
  expect(open(library, other)[1]).toBe(
    `UsageError: Cannot open onnxruntime at ${other}: this process already uses the one at ${library}.`,
  );
});

test("a library that is missing, and then the right one", () => {
  const missing = join(directory, "libonnxruntime.so.1");
  expect(open(missing, findRuntimeLibrary())).toEqual([
    `UsageError: Opening onnxruntime failed: ${missing}: cannot open shared object file: No such file or directory. ${REMEDY}`,
    "1.30.0",
  ]);
});

test("a library that is something else", () => {
  const other = compile("other", "int answer() { return 42; }");
  expect(open(other)).toEqual([`UsageError: ${other} is not onnxruntime: it does not export OrtGetApiBase. ${REMEDY}`]);
});

test.each(["1.16.3", "2.0.0", "unknown"])("version %s", (version) => {
  const library = compileRuntime(`version-${version}`, version, "functions");
  expect(open(library)).toEqual([
    `UsageError: onnxruntime ${version} at ${library} does not serve: shardrun needs 1.21 or a later 1.x. ${REMEDY}`,
  ]);
});

test("a library without our API version", () => {
  const library = compileRuntime("no-table", "1.25.0", "nullptr");
  expect(open(library)).toEqual([
    `UsageError: onnxruntime 1.25.0 at ${library} does not offer API version 21. ${REMEDY}`,
  ]);
});

test("a library with another table", () => {
  const library = compileRuntime("other-table", "1.99.0", "functions");
  expect(open(library)).toEqual([
    `InternalError: onnxruntime 1.99.0 at ${library} does not answer as its C API should. ${REMEDY}`,
  ]);
});

test("the user's own library goes before the package's", () => {
  expect(findRuntimeLibrary("/opt/libonnxruntime.so")).toBe("/opt/libonnxruntime.so");
  expect(findRuntimeLibrary("")).toBe(findRuntimeLibrary());
});

test("a platform that the package has nothing for", () => {
  const arch = Object.getOwnPropertyDescriptor(process, "arch")!;
  Object.defineProperty(process, "arch", { ...arch, value: "s390x" });
  try {
    expect(() => findRuntimeLibrary()).toThrow(
      new UsageError(
        "Found no onnxruntime for linux/s390x: the package onnxruntime-node is missing or has none. " +
          "Install it with npm ci, or let SHARDRUN_ONNXRUNTIME name a libonnxruntime.",
      ),
    );
  } finally {
    Object.defineProperty(process, "arch", arch);
  }
});
