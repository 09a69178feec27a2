/** Runs the C++ tests (scripts/test-native.mjs), each variant on its own so that a failure says which. */
import { describe, expect, test } from "@jest/globals";
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";

const programs = readdirSync(import.meta.dirname).filter((name) => name.endsWith("_test.cc"));
const root = fileURLToPath(new URL("../../", import.meta.url));

describe("C++ tests without Node", () => {
  test.each(["plain", "address", "thread"])(
    "%s",
    (variant) => {
      const result = spawnSync(process.execPath, ["scripts/test-native.mjs", variant], { cwd: root, encoding: "utf8" });
      expect(result.stderr).toBe("");
      expect(result.status).toBe(0);
      expect(result.stdout.match(/ 0 failed$/gm)).toHaveLength(programs.length);
    },
    300_000,
  );
});
