import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { symlinkSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, test } from "@jest/globals";
import { describeSelf, fenceProcess, readStartTime } from "../../../src/rendezvous/process-identity.ts";
import { useTemporaryDirectory } from "../../support/temporary-directory.ts";

const children: ChildProcess[] = [];

/** A program whose name, the second field of /proc/PID/stat, holds what separates the fields there. */
const program = join(useTemporaryDirectory(), "a) b (c");
symlinkSync("/bin/sleep", program);

async function startSleeper(): Promise<ChildProcess & { pid: number }> {
  const child = spawn(program, ["60"], { stdio: "ignore" });
  children.push(child);
  await once(child, "spawn");
  return child as ChildProcess & { pid: number };
}

afterEach(() => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
});

test("a process knows itself", () => {
  const self = describeSelf("hosta");
  expect(self).toEqual({ host: "hosta", pid: process.pid, startTime: readStartTime(process.pid) });
  expect(self.startTime).toBeGreaterThan(0n);
});

test("a process that does not exist has no start time", () => {
  expect(readStartTime(2 ** 30)).toBeUndefined();
});

test("a stopped process is ended", async () => {
  const child = await startSleeper();
  child.kill("SIGSTOP");
  expect(fenceProcess({ host: "hosta", pid: child.pid, startTime: readStartTime(child.pid)! })).toBe(true);
  expect(await once(child, "exit")).toEqual([null, "SIGKILL"]);
});

test("another process that has got the same pid is spared", async () => {
  const child = await startSleeper();
  expect(fenceProcess({ host: "hosta", pid: child.pid, startTime: readStartTime(child.pid)! - 1n })).toBe(false);
  expect(fenceProcess({ host: "hosta", pid: child.pid, startTime: 0n })).toBe(false);
  expect(readStartTime(child.pid)).toBeDefined();
});
