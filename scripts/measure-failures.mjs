// What happens when something fails: every way to end a part of a run, done for real, and how fast the rest ends.
//     node scripts/measure-failures.mjs [--repeat N] [--case NAME]... [--json] [--list]
// Prints the table of docs/failures.md; with --json one line per run, for test/world/failures.test.ts.
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const COMMAND = fileURLToPath(new URL("../dist/cli.js", import.meta.url));
const SCRIPT = fileURLToPath(new URL("../test/world/scripts/failing.mjs", import.meta.url));
/** In the environment of every process of a run, by which they are found. */
const MARK = "SHARDRUN_MEASURED_RUN";
/** A run that has not ended by then never does. */
const LIMIT_MS = 20_000;
const POLL_MS = 5;

/** Name -> what the ranks do (failing.mjs), what is done to whom, and further launch options. */
const CASES = {
  ...Object.fromEntries(
    ["SIGKILL", "SIGSTOP"].flatMap((signal) =>
      ["generating", "idle", "loading", "blocked"].flatMap((scenario) =>
        ["rank 0", "rank 1"].map((target) => [
          `${signal} of ${target}, ${scenario}`,
          { scenario, signal, targets: [target] },
        ]),
      ),
    ),
  ),
  "SIGKILL of rank 0, joining": { scenario: "joining", signal: "SIGKILL", targets: ["rank 0"] },
  "SIGKILL of rank 1, joining": { scenario: "joining", signal: "SIGKILL", targets: ["rank 1"] },
  "SIGKILL of the agent": { scenario: "generating", signal: "SIGKILL", targets: ["agent"] },
  "SIGKILL of the launcher": { scenario: "generating", signal: "SIGKILL", targets: ["launcher"] },
  "SIGKILL of launcher and agent": { scenario: "generating", signal: "SIGKILL", targets: ["launcher", "agent"] },
  "SIGKILL of launcher and agent, blocked": { scenario: "blocked", signal: "SIGKILL", targets: ["launcher", "agent"] },
  "rank 0 throws": { scenario: "leader-throws" },
  "rank 0 leaves a rejection unhandled, generating": { scenario: "leader-rejects" },
  "rank 0 exits with 0 before loading": { scenario: "leader-exits-0-before-load" },
  "rank 0 exits with 3 before loading": { scenario: "leader-exits-3-before-load" },
  "rank 0 exits with 0 after loading": { scenario: "leader-exits-0-after-load" },
  "rank 0 exits with 3 after loading": { scenario: "leader-exits-3-after-load" },
  "rank 0 exits with 0, generating": { scenario: "leader-exits-0-generating" },
  "rank 0 exits with 3, generating": { scenario: "leader-exits-3-generating" },
  "rank 1 throws": { scenario: "follower-throws" },
  "rank 1 exits with 3": { scenario: "follower-exits-3" },
  "rank 1 exits with 0 at once": { scenario: "follower-exits-0" },
  "rank 1 never imports shardrun (--start-timeout 1)": {
    scenario: "follower-never-imports",
    options: ["--start-timeout", "1"],
  },
};

/** The processes of a run that still exist: what each is called -> its pid. */
function findProcesses(mark) {
  const found = new Map();
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      const environment = readFileSync(`/proc/${pid}/environ`, "latin1");
      if (environment.includes(mark)) found.set(nameProcess(pid, environment), Number(pid));
    } catch {
      // ended between the two looks, or not ours
    }
  }
  return found;
}

function nameProcess(pid, environment) {
  const command = readFileSync(`/proc/${pid}/cmdline`, "latin1").split("\0");
  const rank = /\0SHARDRUN_RANK=(\d+)/.exec(`\0${environment}`)?.[1];
  if (rank !== undefined && command.includes(SCRIPT)) return `rank ${rank}`;
  if (command[1] === COMMAND) return "launcher";
  if (command[1]?.endsWith("/launch/agent.js")) return "agent";
  return `${command[0]} ${pid}`;
}

/** Names in /dev/shm; Open MPI's, which other runs of this machine may be making, are not ours. */
function listSharedMemory() {
  return readdirSync("/dev/shm").filter((name) => !/^(vader|osc|sm_)/.test(name));
}

/** One run of one case, from its start until nothing of it is left. */
async function run({ scenario, signal, targets = [], options = [] }) {
  const mark = `${MARK}=${randomUUID()}`;
  const sharedMemory = new Set(listSharedMemory());
  const args = ["-np", "2", "--oversubscribe", ...options, process.execPath, SCRIPT, scenario];
  const [name, value] = mark.split("=");
  const launcher = spawn(process.execPath, [COMMAND, ...args], { env: { ...process.env, [name]: value } });
  let output = "";
  let stderr = "";
  launcher.stderr.setEncoding("utf8").on("data", (text) => (stderr += text));
  const moment = new Promise((resolve, reject) => {
    launcher.stdout.setEncoding("utf8").on("data", (text) => {
      output += text;
      if (/^now$/m.test(output)) resolve();
    });
    launcher.once("close", () =>
      reject(new Error(`"${scenario}" ended before its moment had come:\n${output}${stderr}`)),
    );
  });
  const closed = new Promise((resolve) => launcher.once("close", (code, by) => resolve(code ?? by)));
  await moment;
  if (scenario === "loading") await sleep(Math.random() * 200);
  const processes = findProcesses(mark);
  const startedMs = performance.now();
  for (const target of targets) process.kill(processes.get(target), signal);
  let left = findProcesses(mark);
  while (left.size > 0 && performance.now() - startedMs < LIMIT_MS) {
    await sleep(POLL_MS);
    left = findProcesses(mark);
  }
  const elapsedMs = Math.round(performance.now() - startedMs);
  for (const pid of left.values()) process.kill(pid, "SIGKILL");
  return {
    exit: await closed,
    elapsedMs,
    left: [...left.keys()],
    sharedMemory: listSharedMemory().filter((file) => !sharedMemory.has(file)),
    stderr,
  };
}

/** One line of the table: how long the runs took, how they ended, and what the user is told. */
function describe(name, runs) {
  const times = runs.map(({ elapsedMs }) => elapsedMs).sort((a, b) => a - b);
  const exits = [...new Set(runs.map(({ exit }) => exit))].join(", ");
  const left = runs.flatMap((each) => [...each.left, ...each.sharedMemory]).join(", ") || "nothing";
  const said = runs[0].stderr.split("\n").filter((line) => line.startsWith("shardrun: "));
  const message = (said.find((line) => line.includes("killed by")) ?? said.at(-1) ?? "")
    .replace("shardrun: ", "")
    .replaceAll(/PID \d+/g, "PID N");
  return `| ${name} | ${times[Math.floor(times.length / 2)]} | ${times.at(-1)} | ${exits} | ${left} | ${message} |`;
}

const { values } = parseArgs({
  options: {
    repeat: { type: "string", default: "1" },
    case: { type: "string", multiple: true, default: Object.keys(CASES) },
    json: { type: "boolean", default: false },
    list: { type: "boolean", default: false },
  },
});
if (values.list) {
  console.log(Object.keys(CASES).join("\n"));
} else {
  if (!values.json) {
    console.log("| what happens | median ms | slowest ms | exit code | left over | what is said |");
    console.log("| --- | --- | --- | --- | --- | --- |");
  }
  for (const name of values.case) {
    const runs = [];
    for (let n = 0; n < Number(values.repeat); n++) runs.push(await run(CASES[name]));
    console.log(
      values.json ? runs.map((result) => JSON.stringify({ name, ...result })).join("\n") : describe(name, runs),
    );
  }
}
