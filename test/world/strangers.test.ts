/** Strangers at every port of a run, while it gathers and while it works: they are dropped, mentioned once, and change nothing. */
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { expect, test } from "@jest/globals";
import { startLauncher, TWO_RANKS } from "../support/launcher.ts";
import {
  type Greeting,
  garbage,
  halfGreeting,
  knock,
  openPorts,
  residentBytes,
  wrongProof,
} from "../support/strangers.ts";

const SCRIPT = join(import.meta.dirname, "scripts/answering.mjs");
/** 10 000 in `SHARDRUN_TEST_CONNECTIONS=10000 npm run jest -- test/world/strangers.test.ts`. */
const NUM_CONNECTIONS = Number(process.env["SHARDRUN_TEST_CONNECTIONS"] ?? 300);
const AT_ONCE = 30;
/** What a process may grow by, whatever the number: the run goes on meanwhile, and its garbage comes and goes. */
const FLAT_BYTES = 48 * 2 ** 20;
const LOOPBACK = "0100007F";
const LIMIT_MS = 600_000;

async function knockAt(ports: readonly number[]): Promise<void> {
  for (const port of ports) {
    const knocks = (count: number, greeting: Greeting) => Array.from({ length: count }, () => knock(port, greeting));
    const silent = knocks(AT_ONCE, halfGreeting); // dropped after two seconds
    for (let n = AT_ONCE; n < NUM_CONNECTIONS; n += AT_ONCE) {
      await Promise.all([...knocks(AT_ONCE / 2, garbage), ...knocks(AT_ONCE / 2, wrongProof)]);
    }
    await Promise.all(silent);
  }
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
    expect(stderr).toMatch(
      /^shardrun: rank 0 turned away 127\.0\.0\.1:\d+, which did not prove this run's secret \(said once\)\.\n$/,
    );
  },
  LIMIT_MS,
);
