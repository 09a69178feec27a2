/** Real processes that join, block, freeze, die and leave. They run the compiled dist/. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { hostname } from "node:os";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, test } from "@jest/globals";
import { createSecret } from "../../src/rendezvous/secret.ts";
import { openCable } from "../support/cable.ts";
import { useTemporaryDirectory } from "../support/temporary-directory.ts";

const SCRIPT = fileURLToPath(new URL("rendezvous-rank.mjs", import.meta.url));
const directory = useTemporaryDirectory();
const children: ChildProcess[] = [];

afterEach(() => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
});

type Behaviour = "stay" | "end" | "fail" | "block" | "leave" | "abandon";
type Event = { readonly kind: string } & Record<string, unknown>;

/** One process, what it has told, and how it ended. */
interface Rank {
  readonly pid: number;
  readonly events: readonly Event[];
  readonly stderr: () => string;
  readonly kill: (signal: NodeJS.Signals) => void;
  /** Resolves with the first event of this kind; rejects when the process ends without one. */
  readonly told: (kind: string) => Promise<Event>;
  readonly ended: Promise<{ code: number | null; signal: NodeJS.Signals | null; atMs: number }>;
}

function startRank(behaviour: Behaviour, variables: Record<string, string>): Rank {
  const inherited = Object.entries(process.env).filter(([name]) => !/^(SHARDRUN|OMPI|PMIX?|SLURM)_/.test(name));
  const child = spawn(process.execPath, [SCRIPT, behaviour], {
    env: { ...Object.fromEntries(inherited), TMPDIR: directory, ...variables },
    stdio: ["ignore", "pipe", "pipe"],
  });
  children.push(child);
  const events: Event[] = [];
  const waiting: (() => void)[] = [];
  const wake = () => waiting.splice(0).forEach((resolve) => resolve());
  createInterface(child.stdout).on("line", (line) => {
    events.push(JSON.parse(line) as Event);
    wake();
  });
  let stderr = "";
  child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
  let hasEnded = false;
  const ended = new Promise<Awaited<Rank["ended"]>>((resolve) => {
    child.on("close", (code, signal) => {
      hasEnded = true;
      wake();
      resolve({ code, signal, atMs: performance.now() });
    });
  });
  const told = async (kind: string): Promise<Event> => {
    for (;;) {
      const event = events.find((candidate) => candidate.kind === kind);
      if (event !== undefined) return event;
      if (hasEnded) throw new Error(`ended without "${kind}": ${JSON.stringify(events)} ${stderr}`);
      await new Promise<void>((resolve) => waiting.push(resolve));
    }
  };
  return { pid: child.pid!, events, stderr: () => stderr, kill: (signal) => child.kill(signal), told, ended };
}

let numRuns = 0;

/** Starts one rank per behaviour, as a run of its own. */
function startWorld(behaviours: readonly Behaviour[], variables: Record<string, string> = {}): Rank[] {
  const runId = `test-${process.pid}-${numRuns++}`;
  return behaviours.map((behaviour, rank) =>
    startRank(behaviour, {
      SHARDRUN_RANK: String(rank),
      SHARDRUN_WORLD_SIZE: String(behaviours.length),
      SHARDRUN_HOST: "hosta",
      SHARDRUN_RUN_ID: runId,
      ...variables,
    }),
  );
}

async function joinWorld(behaviours: readonly Behaviour[], variables?: Record<string, string>): Promise<Rank[]> {
  const ranks = startWorld(behaviours, variables);
  await Promise.all(ranks.map((rank) => rank.told("joined")));
  return ranks;
}

async function findFreePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  return port;
}

/** The exit codes and signals, once all have ended. */
async function endings(ranks: readonly Rank[]) {
  const all = await Promise.all(ranks.map((rank) => rank.ended));
  return all.map(({ code, signal }) => signal ?? code);
}

describe("a run that goes well", () => {
  test.each([2, 4])("%i ranks join, and end when rank 0 does", async (worldSize) => {
    const behaviours = Array.from({ length: worldSize }, (_, rank): Behaviour => (rank === 0 ? "end" : "stay"));
    const ranks = await joinWorld(behaviours);
    const peers = ranks.map(({ pid }, rank) => ({ rank, host: "hosta", pid, address: `data-${rank}` }));
    for (const { events } of ranks) expect(events[0]).toEqual({ kind: "joined", world: { peers } });
    expect(await endings(ranks)).toEqual(behaviours.map(() => 0));
    for (const { events } of ranks.slice(1)) {
      expect(events.slice(1)).toEqual([
        { kind: "left", rank: 0 },
        { kind: "leaving", told: true },
      ]);
    }
    expect(ranks.map(({ stderr }) => stderr())).toEqual(behaviours.map(() => ""));
    expect(readdirSync(directory)).toEqual([]);
  });

  test("with the coordinator's address given", async () => {
    const secret = Buffer.from(createSecret()).toString("hex");
    const ranks = await joinWorld(["end", "stay"], {
      SHARDRUN_COORDINATOR: `127.0.0.1:${await findFreePort()}`,
      SHARDRUN_SECRET: secret,
    });
    expect(await endings(ranks)).toEqual([0, 0]);
  });

  test("a follower that leaves is no failure; a membership may leave from its own thread", async () => {
    const ranks = await joinWorld(["end", "leave", "stay"]);
    await ranks[2]!.told("left");
    expect(ranks[2]!.events[1]).toEqual({ kind: "left", rank: 1 });
    ranks[1]!.kill("SIGKILL"); // its main thread still idles
    expect(await endings(ranks)).toEqual([0, "SIGKILL", 0]);
  });

  test("rank 0 that ends before the others have started waits for them", async () => {
    const [runId, host] = ["late", "hosta"];
    const common = { SHARDRUN_WORLD_SIZE: "2", SHARDRUN_RUN_ID: runId, SHARDRUN_HOST: host };
    const root = startRank("end", { ...common, SHARDRUN_RANK: "0" });
    await sleep(1500);
    const follower = startRank("stay", { ...common, SHARDRUN_RANK: "1" });
    expect(await endings([root, follower])).toEqual([0, 0]);
  });

  test("two runs at once do not meet each other", async () => {
    const [first, second] = await Promise.all([joinWorld(["end", "stay"]), joinWorld(["end", "stay"])]);
    expect(first[1]!.events[0]).not.toEqual(second[1]!.events[0]);
    expect(await endings([...first, ...second])).toEqual([0, 0, 0, 0]);
  });

  test("scripts that block their event loops are not declared dead", async () => {
    const ranks = await joinWorld(["block", "block", "stay"]);
    await sleep(2500);
    expect(ranks.flatMap(({ events }) => events.filter(({ kind }) => kind === "failed"))).toEqual([]);
  });

  test("a job that is suspended as a whole and resumed goes on", async () => {
    const ranks = await joinWorld(["stay", "stay", "stay"]);
    for (const rank of ranks) rank.kill("SIGSTOP");
    await sleep(2500);
    for (const rank of ranks) rank.kill("SIGCONT");
    await sleep(2500);
    expect(ranks.flatMap(({ events }) => events.filter(({ kind }) => kind === "failed"))).toEqual([]);
  });

  const mpirun = spawnSync("mpirun", ["--version"]).status === 0 ? test : test.skip;
  mpirun("behind mpirun, from its environment alone (skipped where there is no mpirun)", () => {
    const { status, stdout } = spawnSync("mpirun", ["--oversubscribe", "-np", "3", process.execPath, SCRIPT, "end"], {
      encoding: "utf8",
      timeout: 30_000,
      env: { ...process.env, OMPI_ALLOW_RUN_AS_ROOT: "1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: "1" },
    });
    expect(status).toBe(0);
    const joined = stdout.split("\n").filter((line) => line.includes('"joined"'));
    expect(joined).toHaveLength(3);
    expect(joined[0]).toContain(`{"rank":2,"host":"${hostname()}"`);
  });

  test("behind torchrun, from its environment alone", async () => {
    const ranks = [0, 1].map((rank) =>
      startRank(rank === 0 ? "end" : "stay", {
        RANK: String(rank),
        WORLD_SIZE: "2",
        LOCAL_RANK: String(rank),
        LOCAL_WORLD_SIZE: "2",
        MASTER_ADDR: "127.0.0.1",
        MASTER_PORT: "29500",
      }),
    );
    expect(await endings(ranks)).toEqual([0, 0]);
    expect(readdirSync(directory)).toEqual([]);
  });
});

describe("a run that fails", () => {
  /** On an idle machine all is over within 2 s; tests share theirs. */
  const PATIENCE_MS = 10_000;

  test.each<[string, NodeJS.Signals, number, string]>([
    ["a follower is killed", "SIGKILL", 1, "its connection closed"],
    ["rank 0 is killed", "SIGKILL", 0, "its connection closed"],
    ["a follower freezes", "SIGSTOP", 1, "it stopped answering"],
  ])("%s", async (_, signal, victim, reason) => {
    const ranks = await joinWorld(["stay", "stay", "stay"]);
    const startMs = performance.now();
    ranks[victim]!.kill(signal);
    const expected = ranks.map((_, rank) => (rank === victim ? "SIGKILL" : 1)); // a frozen rank is ended by the others
    expect(await endings(ranks)).toEqual(expected);
    expect(performance.now() - startMs).toBeLessThan(PATIENCE_MS);
    for (const [rank, { events }] of ranks.entries()) {
      if (rank === victim) continue;
      const failure = { rank: victim, host: "hosta", pid: ranks[victim]!.pid, reason, elapsedMs: expect.any(Number) };
      expect(events.slice(1)).toEqual([
        { kind: "failed", failure },
        { kind: "leaving", told: true },
      ]);
    }
    const { pid } = ranks[victim]!;
    const fencing = `shardrun: rank ${victim} (hosta, PID ${pid}) had not answered for`;
    expect(ranks.some(({ stderr }) => stderr().startsWith(fencing))).toBe(signal === "SIGSTOP");
  });

  test("rank 0 freezes: whoever notices first ends it, which the others notice", async () => {
    const ranks = await joinWorld(["stay", "stay", "stay"]);
    const startMs = performance.now();
    ranks[0]!.kill("SIGSTOP");
    expect(await endings(ranks)).toEqual(["SIGKILL", 1, 1]);
    expect(performance.now() - startMs).toBeLessThan(PATIENCE_MS);
    for (const { events } of ranks.slice(1)) {
      expect(events.slice(1)).toMatchObject([
        { kind: "failed", failure: { rank: 0, pid: ranks[0]!.pid } },
        { kind: "leaving", told: true },
      ]);
    }
  });

  test("a host is cut off: both sides end, and nobody is killed across it", async () => {
    const port = await findFreePort();
    const cable = await openCable(port);
    const variables = {
      SHARDRUN_WORLD_SIZE: "4",
      SHARDRUN_LOCAL_WORLD_SIZE: "2",
      SHARDRUN_SECRET: Buffer.from(createSecret()).toString("hex"),
    };
    const ranks = [0, 1, 2, 3].map((rank) =>
      startRank("stay", {
        ...variables,
        SHARDRUN_RANK: String(rank),
        SHARDRUN_HOST: rank < 2 ? "hosta" : "hostb",
        SHARDRUN_COORDINATOR: rank < 2 ? `127.0.0.1:${port}` : cable.address,
      }),
    );
    await Promise.all(ranks.map((rank) => rank.told("joined")));
    const startMs = performance.now();
    cable.block();
    expect(await endings(ranks)).toEqual([1, 1, 1, 1]);
    cable.close();
    expect(performance.now() - startMs).toBeLessThan(PATIENCE_MS);
    const failures = ranks.map(({ events }) => events.find(({ kind }) => kind === "failed")?.["failure"]);
    const silent = { reason: "it stopped answering", elapsedMs: expect.any(Number) as unknown };
    const cutOff = { ...silent, host: "hostb" }; // rank 2 or 3
    const root = { ...silent, rank: 0, host: "hosta", pid: ranks[0]!.pid };
    expect(failures).toMatchObject([cutOff, cutOff, root, root]);
    expect(ranks.map(({ stderr }) => stderr())).toEqual(["", "", "", ""]);
  });

  test("a rank ends with another code than 0", async () => {
    const ranks = await joinWorld(["stay", "stay", "fail"]);
    expect(await endings(ranks)).toEqual([1, 1, 7]);
    const failure = { rank: 2, host: "hosta", pid: ranks[2]!.pid, reason: "it ended with exit code 7", elapsedMs: 0 };
    expect(ranks[0]!.events[1]).toEqual({ kind: "failed", failure });
    expect(ranks[1]!.events[1]).toEqual({ kind: "failed", failure });
  });

  test("rank 0 ends with another code than 0 before all have joined", async () => {
    const ranks = startWorld(["abandon", "stay"], { SHARDRUN_WORLD_SIZE: "3" });
    const message = `Rank 0 (hosta, PID ${ranks[0]!.pid}) was lost: it ended with exit code 7, 0 ms after its last sign of life.`;
    const error = { kind: "error", name: "RendezvousError", code: "ERR_SHARDRUN_RENDEZVOUS", message };
    expect(await endings(ranks)).toEqual([1, 1]);
    expect(ranks.map(({ events }) => events)).toEqual([[error], [error]]);
  });

  test("a rank that never starts is named by all that did", async () => {
    const variables = { SHARDRUN_WORLD_SIZE: "3", SHARDRUN_START_TIMEOUT_MS: "1500" };
    const ranks = startWorld(["stay", "stay"], variables);
    const errors = await Promise.all(ranks.map((rank) => rank.told("error")));
    expect(await endings(ranks)).toEqual([1, 1]);
    for (const [rank, error] of errors.entries()) {
      expect(error).toMatchObject({ name: "RendezvousError", code: "ERR_SHARDRUN_RENDEZVOUS" });
      expect((error["message"] as string).replace(/after 1\d\d\d ms/, "after 1500 ms")).toBe(
        `Rendezvous timed out after 1500 ms on rank ${rank} (hosta): 2 of 3 ranks joined; missing: rank 2. ` +
          "The missing ranks may have ended, see their output, or need more time: SHARDRUN_START_TIMEOUT_MS.",
      );
    }
  });

  test("a stale file of a killed run does not mislead the next", async () => {
    const before = readdirSync(directory); // a run that another test killed may have left its own
    const variables = { SHARDRUN_RUN_ID: "again", SHARDRUN_START_TIMEOUT_MS: "20000" };
    const [killed] = startWorld(["stay"], {
      ...variables,
      SHARDRUN_WORLD_SIZE: "2",
    });
    const deadlineMs = performance.now() + 10_000;
    while (readdirSync(directory).length === before.length && performance.now() < deadlineMs) {
      await sleep(20);
    }
    killed!.kill("SIGKILL");
    await killed!.ended;
    expect(readdirSync(directory)).toHaveLength(before.length + 1);
    const follower = startRank("stay", { ...variables, SHARDRUN_RANK: "1", SHARDRUN_WORLD_SIZE: "2" });
    await sleep(700);
    const root = startRank("end", { ...variables, SHARDRUN_RANK: "0", SHARDRUN_WORLD_SIZE: "2" });
    expect(await endings([root, follower])).toEqual([0, 0]);
    expect(readdirSync(directory)).toEqual(before);
  });

  test("a rank with another secret is turned away, which harms nobody else", async () => {
    const coordinator = `127.0.0.1:${await findFreePort()}`;
    const common = { SHARDRUN_WORLD_SIZE: "2", SHARDRUN_HOST: "hosta", SHARDRUN_COORDINATOR: coordinator };
    const [secret, otherSecret] = [createSecret(), createSecret()].map((bytes) => Buffer.from(bytes).toString("hex"));
    const root = startRank("end", { ...common, SHARDRUN_RANK: "0", SHARDRUN_SECRET: secret! });
    const stranger = startRank("stay", { ...common, SHARDRUN_RANK: "1", SHARDRUN_SECRET: otherSecret! });
    expect((await stranger.told("error"))["message"]).toBe(
      `Rank 1 (hosta) was turned away at ${coordinator}: the coordinator there has another secret. ` +
        "It belongs to another run, or SHARDRUN_SECRET differs between the ranks.",
    );
    const follower = startRank("stay", { ...common, SHARDRUN_RANK: "1", SHARDRUN_SECRET: secret! });
    expect(await endings([root, stranger, follower])).toEqual([0, 1, 0]);
    expect(root.stderr()).toMatch(
      /^shardrun: rank 0 turned away 127\.0\.0\.1:\d+, which did not prove this run's secret \(said once\)\.\n$/,
    );
  });

  test("two processes that start as the same rank are told of each other", async () => {
    const common = { SHARDRUN_WORLD_SIZE: "3", SHARDRUN_RUN_ID: "twice", SHARDRUN_HOST: "hosta" };
    const ranks = ["0", "1", "1"].map((rank) => startRank("stay", { ...common, SHARDRUN_RANK: rank }));
    const errors = await Promise.all(ranks.map((rank) => rank.told("error")));
    const [root, first, second] = errors.map((error) => error["message"] as string);
    expect(root).toMatch(/^Two processes claim to be rank 1: hosta, PID \d+ joined first, then hosta, PID \d+\./);
    expect([first, second]).toEqual([root, root]);
    expect(root).toContain(`PID ${ranks[1]!.pid}`);
    expect(root).toContain(`PID ${ranks[2]!.pid}`);
  });
});
