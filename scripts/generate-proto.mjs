/**
 * Generates TypeScript from proto/*.proto into the room that speaks it; the output is committed, so that a build needs no protoc.
 * Run `npm run generate` after a change of a .proto file. `--check` writes nothing and fails when the committed output is stale.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));

/** Common to all: 64-bit integers as bigint, a oneof as a tagged union, no JSON mapping, nothing kept of unknown fields. */
const commonOptions = [
  "esModuleInterop=true",
  "importSuffix=.ts",
  "forceLong=bigint",
  "oneof=unions-value",
  "outputJsonMethods=false",
  "useExactTypes=false",
  "unrecognizedEnum=false",
];

/** One row per .proto file: where its TypeScript goes, and what it needs beside the common options. */
const targets = [
  { proto: "rendezvous.proto", directory: "src/rendezvous/generated", options: ["outputServices=grpc-js"] },
  { proto: "onnx.proto", directory: "src/model/generated", options: ["outputServices=none"] },
];

function generate(target, directory) {
  mkdirSync(directory, { recursive: true });
  const plugin = join(root, "node_modules/.bin/protoc-gen-ts_proto");
  const args = [
    join(root, "node_modules/protoc/protoc.cjs"),
    `--plugin=protoc-gen-ts_proto=${plugin}`,
    `--ts_proto_out=${directory}`,
    `--ts_proto_opt=${[...commonOptions, ...target.options].join(",")}`,
    `--proto_path=${join(root, "proto")}`,
    target.proto,
  ];
  const { status } = spawnSync(process.execPath, args, { stdio: "inherit" });
  if (status !== 0) process.exit(1); // protoc has said why
}

/** The generated files whose committed text differs from what protoc gives today. */
function findStale() {
  const scratch = mkdtempSync(join(tmpdir(), "shardrun-proto-"));
  try {
    return targets.flatMap((target) => {
      generate(target, scratch);
      const name = target.proto.replace(/\.proto$/, ".ts");
      const committed = join(root, target.directory, name);
      return readFileSync(committed, "utf8") === readFileSync(join(scratch, name), "utf8") ? [] : [committed];
    });
  } finally {
    rmSync(scratch, { recursive: true });
  }
}

if (process.argv.includes("--check")) {
  const stale = findStale();
  for (const file of stale) console.error(`${file} is not what proto/ says. Run: npm run generate`);
  process.exitCode = stale.length === 0 ? 0 : 1;
} else {
  for (const target of targets) generate(target, join(root, target.directory));
}
