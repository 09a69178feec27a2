/**
 * The rooms of src/ (docs/architecture.md): a room imports only from rooms before it, no imports form a circle, and what
 * touches the outside has one importer. Types may be imported from anywhere.
 */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "@jest/globals";
import ts from "typescript";

const SRC = fileURLToPath(new URL("../../src", import.meta.url));

/** In the order in which a token travels. */
const ROOMS = [
  "errors.ts",
  "node-version.ts",
  "environment.ts",
  "log.ts",
  "launch",
  "rendezvous",
  "model",
  "partition",
  "collective",
  "shards",
  "execute",
  "decode",
  "engine",
  "api",
  "check",
  "programs",
  "index.ts",
  "command.ts",
  "cli.ts",
];

interface Import {
  readonly from: string;
  /** A path in src/, or the name of a package. */
  readonly to: string;
  readonly line: string;
}

const files = readdirSync(SRC, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".ts"));
const imports = files.flatMap(listImports);

/** Imports and re-exports of values, dynamic ones included. */
function listImports(file: string): Import[] {
  const path = join(SRC, file);
  const source = ts.createSourceFile(path, readFileSync(path, "utf8"), ts.ScriptTarget.Latest);
  const found: Import[] = [];
  const add = (specifier: ts.Expression): void => {
    if (ts.isStringLiteral(specifier)) {
      const isLocal = specifier.text.startsWith(".");
      const to = isLocal ? relative(SRC, resolve(dirname(path), specifier.text)) : specifier.text;
      found.push({ from: file, to, line: `${file} imports ${to}` });
    }
  };
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node) && !isTypeOnly(node)) add(node.moduleSpecifier);
    if (ts.isExportDeclaration(node) && node.moduleSpecifier !== undefined && !node.isTypeOnly)
      add(node.moduleSpecifier);
    if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) add(node.arguments[0]!);
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

function isTypeOnly({ importClause }: ts.ImportDeclaration): boolean {
  if (importClause === undefined) return false;
  if (importClause.isTypeOnly) return true;
  const { name, namedBindings } = importClause;
  return name === undefined && namedBindings !== undefined && ts.isNamedImports(namedBindings)
    ? namedBindings.elements.every((element) => element.isTypeOnly)
    : false;
}

function roomOf(path: string): string {
  return path.split(sep)[0]!;
}

function importersOf(matches: (to: string) => boolean): string[] {
  return [...new Set(imports.filter(({ to }) => matches(to)).map(({ from }) => from))].toSorted();
}

describe("rooms", () => {
  test("every file of src/ stands in a known room", () => {
    expect(files.map(roomOf).filter((room) => !ROOMS.includes(room))).toEqual([]);
  });

  test("a room imports only from itself and the rooms before it", () => {
    const local = imports.filter(({ to }) => ROOMS.includes(roomOf(to)));
    expect(local.length).toBeGreaterThan(100);
    const upward = local.filter(({ from, to }) => ROOMS.indexOf(roomOf(to)) > ROOMS.indexOf(roomOf(from)));
    expect(upward.map(({ line }) => line)).toEqual([]);
  });

  test("no imports form a circle", () => {
    const next = new Map(files.map((file) => [file, imports.filter(({ from }) => from === file).map(({ to }) => to)]));
    const done = new Set<string>();
    const circles: string[] = [];
    const walk = (file: string, path: readonly string[]): void => {
      if (path.includes(file)) circles.push([...path.slice(path.indexOf(file)), file].join(" -> "));
      if (path.includes(file) || done.has(file)) return;
      for (const to of next.get(file) ?? []) walk(to, [...path, file]);
      done.add(file);
    };
    files.forEach((file) => walk(file, []));
    expect(circles).toEqual([]);
  });
});

describe("the outside", () => {
  test("processes are started in one file", () => {
    expect(importersOf((to) => to === "node:child_process")).toEqual(["launch/processes.ts"]);
  });

  test("gRPC is spoken in the rendezvous only", () => {
    expect([...new Set(importersOf((to) => to === "@grpc/grpc-js").map(roomOf))]).toEqual(["rendezvous"]);
  });

  test("process.env is read in one file", () => {
    const readers = files.filter((file) => readFileSync(join(SRC, file), "utf8").includes("process.env"));
    expect(readers).toEqual(["environment.ts"]);
  });

  test("the addon is loaded in one file", () => {
    const loaders = files.filter((file) => readFileSync(join(SRC, file), "utf8").includes("shardrun.node"));
    expect(loaders).toEqual([join("collective", "native.ts")]);
  });

  test("yargs reads command lines only where they are typed", () => {
    expect([...new Set(importersOf((to) => to === "yargs").map(roomOf))]).toEqual(["launch", "programs"]);
  });
});
