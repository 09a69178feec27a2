/** The build of the addon explains itself where it cannot work. */
import { spawnSync } from "node:child_process";
import { statSync } from "node:fs";
import { expect, test } from "@jest/globals";

const ADDON = "native/build/Release/shardrun.node";

function build(options: readonly string[], environment: Readonly<Record<string, string>> = {}) {
  const { status, stdout, stderr } = spawnSync(process.execPath, ["scripts/build-native.mjs", ...options], {
    encoding: "utf8",
    env: { ...process.env, ...environment },
  });
  return { status, stdout, stderr };
}

test("without a compiler it says which one it looked for, and how to get one", () => {
  const builtMs = statSync(ADDON).mtimeMs;
  expect(build(["--force"], { CXX: "no-such-compiler" })).toEqual({
    status: 1,
    stdout: "",
    stderr:
      'Building the native addon failed: no C++ compiler "no-such-compiler". ' +
      "Install one (Debian, Ubuntu: apt-get install g++ make), or name it in CXX, and run: npm run build:native\n",
  });
  expect(statSync(ADDON).mtimeMs).toBe(builtMs);
});
