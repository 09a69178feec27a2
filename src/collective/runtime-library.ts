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
  for (const directory of listBinaryDirectories(platform)) {
    const library = listDirectory(directory).find((file) => file.startsWith("libonnxruntime.so.1"));
    if (library !== undefined) return join(directory, library);
  }
  throw new UsageError(
    `Found no onnxruntime for ${platform}: the package onnxruntime-node is missing or has none. ` +
      "Install it with npm ci, or let SHARDRUN_ONNXRUNTIME name a libonnxruntime.",
  );
}

/** <package>/bin/napi-v6/<platform>, wherever Node would look for the package. */
function listBinaryDirectories(platform: string): string[] {
  const packages = createRequire(import.meta.url).resolve.paths("onnxruntime-node") ?? [];
  return packages
    .map((path) => join(path, "onnxruntime-node/bin"))
    .flatMap((binaries) => listDirectory(binaries).map((napiVersion) => join(binaries, napiVersion, platform)));
}

function listDirectory(path: string): string[] {
  return existsSync(path) ? readdirSync(path).sort() : [];
}
