/** Strangers at every port of a run, while it gathers and while it works: they are dropped, mentioned once, and change nothing. */
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { expect, test } from "@jest/globals";
import { startLauncher, TWO_RANKS } from "../support/launcher.ts";
import {
  type Greeting,
  garbage,
  halfFrame,
  halfGreeting,
  knock,
  openPorts,
  residentBytes,
  silence,
  wrongProof,
} from "../support/strangers.ts";

const SCRIPT = join(import.meta.dirname, "scripts/answering.mjs");
/** 10 000 in `SHARDRUN_TEST_CONNECTIONS=10000 npm run jest -- test/world/strangers.test.ts`. */
const NUM_CONNECTIONS = Number(process.env["SHARDRUN_TEST_CONNECTIONS"] ?? 300);
const AT_ONCE = 150;
const GREETINGS: readonly Greeting[] = [garbage, wrongProof, halfGreeting, halfFrame, silence];
/** What a process may grow by, whatever the number: the run goes on meanwhile, and its garbage comes and goes. */
const FLAT_BYTES = 48 * 2 ** 20;
const LOOPBACK = "0100007F";
const LIMIT_MS = 600_000;

/** So many that those who say nothing crowd each other out; the last of them are dropped when their time is up. */
async function knockAt(ports: readonly number[]): Promise<void> {
  const knocks = ports.flatMap((port) => {
    let numLeft = NUM_CONNECTIONS;
    return Array.from({ length: AT_ONCE }, async () => {
      while (numLeft > 0) await knock(port, GREETINGS[numLeft-- % GREETINGS.length]!);
    });
  });
  await Promise.all(knocks);
}

test(
  `${NUM_CONNECTIONS} strangers at every port`,
  async () => {
    const run = startLauncher([...TWO_RANKS, "--start-timeout", "600", process.execPath, SCRIPT]);
    const ports = (): number[] => {
      const open = openPorts(run.processes().map(({ pid }) => pid));
      expect([...new Set(open.map(({ address }) => address))]).toEqual(open.length === 0 ? [] : [LOOPBACK]);
      return open.map(({ port }) => port);
    };
    // Of rank 0: where it gathers the others, and where it takes their tensors.
    while (run.child.exitCode === null && ports().length < 2) await delay(20);
    const root = openPorts(run.processes().map(({ pid }) => pid))[0]!.pid;
    await knockAt(ports());
    const gathering = residentBytes(root);
    await knockAt(ports());
    expect(residentBytes(root) - gathering).toBeLessThan(FLAT_BYTES);

    run.child.kill("SIGUSR2");
    await run.waitForOutput("loaded");
    expect(ports().length).toBe(1);
    const working = residentBytes(root);
    await knockAt(ports());
    expect(residentBytes(root) - working).toBeLessThan(FLAT_BYTES);

    run.child.kill("SIGUSR2");
    const { end, stdout, stderr } = await run.result;
    expect([end, stdout]).toEqual([0, "loaded\n1\n"]);
    const said = stderr.replaceAll(/127\.0\.0\.1:\d+/g, "ADDRESS");
    expect(said).toBe(
      "shardrun: rank 0 turned away ADDRESS, which did not prove this run's secret (said once).\n".repeat(2), // a port each
    );
  },
  LIMIT_MS,
);
