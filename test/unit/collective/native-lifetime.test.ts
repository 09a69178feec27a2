/** A process or a thread may end while its sessions live and run: nothing crashes, and exit codes stay what they are. */
import { spawnSync } from "node:child_process";
import { expect, test } from "@jest/globals";

test.each([
  ["script", 0, "running\n"],
  ["exit", 3, "running\n"],
  ["terminate", 0, "1\n"],
  ["exit around", 3, ""],
  ["workers", 0, "0,0\n"],
])("%s", (mode, code, output) => {
  for (let i = 0; i < 3; ++i) {
    const { status, signal, stdout, stderr } = spawnSync(
      process.execPath,
      ["test/support/session-lifetime.mjs", mode],
      {
        encoding: "utf8",
        timeout: 30_000,
      },
    );
    expect({ status, signal, stdout, stderr }).toEqual({ status: code, signal: null, stdout: output, stderr: "" });
  }
});
