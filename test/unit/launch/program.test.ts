import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import type { AgentJob } from "../../../src/launch/job.ts";
import { findProgram } from "../../../src/launch/program.ts";
import { useTemporaryDirectory } from "../../support/temporary-directory.ts";

const directory = useTemporaryDirectory();
for (const bin of ["first", "second"]) mkdirSync(join(directory, bin));
writeFileSync(join(directory, "first", "tool"), "");
writeFileSync(join(directory, "first", "plain"), "");
writeFileSync(join(directory, "second", "tool"), "");
chmodSync(join(directory, "second", "tool"), 0o755);

function find(name: string, job: Partial<AgentJob> = {}) {
  const environment = { PATH: `first:/no/such:${join(directory, "second")}` };
  return findProgram({ host: "hosta", command: [name], workingDirectory: directory, environment, ranks: [], ...job });
}

test("a name is looked up in PATH, past files that are not executable", () => {
  expect(find("tool")).toEqual({ path: join(directory, "second", "tool") });
});

test("a path is relative to the working directory", () => {
  expect(find("second/tool")).toEqual({ path: join(directory, "second", "tool") });
  expect(find("./tool", { workingDirectory: join(directory, "second") })).toEqual({
    path: join(directory, "second", "tool"),
  });
});

test.each([
  ["nosuch", "no directory in PATH has it. Check its spelling, or give its path."],
  ["./nosuch", `there is no such file (looked in ${directory}). Check its spelling and --wdir.`],
  ["second/tool/x", `there is no such file (looked in ${directory}). Check its spelling and --wdir.`],
  ["./second", `there is no such file (looked in ${directory}). Check its spelling and --wdir.`],
  [
    "plain",
    `"${join(directory, "first", "plain")}" is not executable. Run chmod +x on it, or name its interpreter first (node, python3, sh).`,
  ],
])("what cannot be run is refused: %s", (name, reason) => {
  expect(find(name)).toEqual({
    exitCode: 132,
    message: `Could not find the program "${name}" on host hosta: ${reason} No rank was started.`,
  });
});

test.each(["nosuch", "second/tool"])("a working directory that is none: %s", (name) => {
  const workingDirectory = join(directory, name);
  expect(find("tool", { workingDirectory })).toEqual({
    exitCode: 135,
    message:
      `The working directory "${workingDirectory}" does not exist on host hosta, or is not a directory. ` +
      `No rank was started. Create it, or give another one with --wdir.`,
  });
});
