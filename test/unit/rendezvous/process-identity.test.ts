import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { symlinkSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, test } from "@jest/globals";
import {
  describeSelf,
  fenceProcess,
  readStartTime,
  shareHost,
  tellHostsApart,
} from "../../../src/rendezvous/process-identity.ts";
import { useTemporaryDirectory } from "../../support/temporary-directory.ts";

const children: ChildProcess[] = [];
const self = describeSelf("hosta");

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
  const machine = expect.stringMatching(/^[0-9a-f-]{36} net:\[\d+\] pid:\[\d+\]$/);
  expect(self).toEqual({ host: "hosta", machine, pid: process.pid, startTime: readStartTime(process.pid) });
  expect(self.startTime).toBeGreaterThan(0n);
});

test("a host is known by its name and its machine", () => {
  expect(shareHost(self, describeSelf("hosta"))).toBe(true);
  expect(shareHost(self, describeSelf("hostb"))).toBe(false);
  expect(shareHost(self, { ...self, machine: "another" })).toBe(false);
});

test("hosts of the same name are told apart", () => {
  const on = (host: string, machine: string) => ({ ...self, host, machine });
  const processes = [on("node", "m1"), on("node", "m2"), on("hostb", "m3"), on("node", "m1"), on("node", "m2")];
  expect(tellHostsApart(processes)).toEqual(["node", "node#2", "hostb", "node", "node#2"]);
});

test("a process that does not exist has no start time", () => {
  expect(readStartTime(2 ** 30)).toBeUndefined();
});

test("a stopped process is ended", async () => {
  const child = await startSleeper();
  child.kill("SIGSTOP");
  expect(fenceProcess({ ...self, pid: child.pid, startTime: readStartTime(child.pid)! })).toBe(true);
  expect(await once(child, "exit")).toEqual([null, "SIGKILL"]);
});

test("another process that has got the same pid is spared", async () => {
  const child = await startSleeper();
  expect(fenceProcess({ ...self, pid: child.pid, startTime: readStartTime(child.pid)! - 1n })).toBe(false);
  expect(fenceProcess({ ...self, pid: child.pid, startTime: 0n })).toBe(false);
  expect(readStartTime(child.pid)).toBeDefined();
});
