/**
 * Where the onnxruntime library lies that the addon opens: in the package onnxruntime-node, unless the user names another
 * (one with the CUDA provider, say).
 */
import { existsSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { UsageError } from "../errors.ts";

/**
 * Path of the library for this platform.
 * @param override what SHARDRUN_ONNXRUNTIME says; "" or left out: the package's own
 * @throws {UsageError} when the package is missing or has no library for this platform
 */
export function findRuntimeLibrary(override?: string): string {
  if (override) return override;
  const platform = `${process.platform}/${process.arch}`;
  const binaries = join(findPackage("onnxruntime-node"), "bin");
  for (const napiVersion of listDirectory(binaries)) {
    const directory = join(binaries, napiVersion, platform);
    const library = listDirectory(directory).find((file) => file.startsWith("libonnxruntime.so.1"));
    if (library !== undefined) return join(directory, library);
  }
  throw new UsageError(
    `onnxruntime-node has no library for ${platform} in ${binaries}. Install it anew with: npm ci, or let SHARDRUN_ONNXRUNTIME name a libonnxruntime.`,
  );
}

function findPackage(name: string): string {
  const paths = createRequire(import.meta.url).resolve.paths(name) ?? [];
  const found = paths.map((path) => join(path, name)).find((path) => existsSync(join(path, "package.json")));
  if (found === undefined) {
    throw new UsageError(
      `The package ${name} is not installed. Install it with: npm ci, or let SHARDRUN_ONNXRUNTIME name a libonnxruntime.`,
    );
  }
  return found;
}

function listDirectory(path: string): string[] {
  return existsSync(path) ? readdirSync(path).sort() : [];
}
