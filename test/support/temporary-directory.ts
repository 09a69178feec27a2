/** A directory for one test file, removed when its tests are done. */
import { afterAll } from "@jest/globals";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Makes the directory; call it at the top of a test file. */
export function useTemporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), "shardrun-test-"));
  afterAll(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}
