/** A Node that is too old says so in one line, whichever way shardrun begins on it, instead of failing where it first cannot go on. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, test } from "@jest/globals";
import { runNode, COMMAND } from "../support/run-shardrun.ts";
import { useTemporaryDirectory } from "../support/temporary-directory.ts";

const directory = useTemporaryDirectory();
const pretence = join(directory, "old.cjs");
const WORDS =
  `shardrun needs Node.js 20 or later, ${process.execPath} is v18.20.8. ` +
  "Install a newer one, or put it first in PATH.";

beforeAll(() => {
  writeFileSync(pretence, 'Object.defineProperty(process, "version", { value: "v18.20.8" });');
});

test.each([[["--version"]], [["-np", "2", "true"]], [["generate", "--prompt", "Once"]]])(
  "shardrun %j",
  async (args) => {
    expect(await runNode(["--require", pretence, COMMAND, ...args])).toEqual({
      exitCode: 1,
      stdout: "",
      stderr: `shardrun: ${WORDS}\n`,
    });
  },
);

test("a script's import", async () => {
  const script = 'import("shardrun").catch(({ code, message }) => console.log(code, message))';
  const { stdout } = await runNode(["--require", pretence, "--eval", script]);
  expect(stdout).toBe(`ERR_SHARDRUN_USAGE ${WORDS}\n`);
});
