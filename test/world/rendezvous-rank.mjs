/**
 * One rank for rendezvous.test.ts: joins, then does what its one argument says. Tells what happens in JSON lines.
 * The membership lives in a thread of its own, as the engine's does, and the main thread leaves for it as the process ends.
 */
import { writeSync } from "node:fs";
import { setInterval } from "node:timers";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { readEnvironment } from "../../dist/environment.js";
import { chooseMeetingPoint } from "../../dist/rendezvous/meeting-point.js";
import { Membership } from "../../dist/rendezvous/membership.js";

/** Written at once: console would wait for the event loop, which some of these ranks block. */
function tell(event) {
  writeSync(1, `${JSON.stringify(event)}\n`);
}

async function holdMembership() {
  const environment = readEnvironment();
  const { rank } = environment.identity;
  const leaving = new AbortController();
  if (workerData.behaviour === "abandon") setTimeout(() => leaving.abort(7), 3000);
  const membership = await Membership.join({
    environment,
    meetingPoint: await chooseMeetingPoint(environment),
    dataAddress: `data-${rank}`,
    leaving: leaving.signal,
  });
  tell({ kind: "joined", world: membership.world });
  membership.onFailure((failure) => {
    tell({ kind: "failed", failure });
    process.exitCode = 1;
    parentPort.postMessage({ exitCode: 1 });
  });
  membership.onLeft((left) => {
    tell({ kind: "left", rank: left });
    if (left === 0) parentPort.postMessage({ exitCode: 0 });
  });
  if (workerData.behaviour === "leave") await membership.leave(0);
  else parentPort.postMessage({ joined: true });
  parentPort.on("message", async ({ exitCode }) => {
    await membership.leave(exitCode);
    Atomics.store(workerData.left, 0, 1);
    Atomics.notify(workerData.left, 0);
  });
}

/** What the script of the user does in the meantime. */
const behaviours = {
  /** Lives until rank 0 leaves or the run fails. */
  stay: () => {},
  /** Ends when it likes. */
  end: () => setTimeout(() => process.exit(0), 500),
  /** Ends badly. */
  fail: () => setTimeout(() => process.exit(7), 300),
  /** Computes without a look at its event loop, for longer than silence is tolerated. */
  block: () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2500),
  /** Leaves from the membership's own thread. */
  leave: () => {},
  /** Ends badly before all have joined. */
  abandon: () => {},
};

if (isMainThread) {
  const behaviour = process.argv[2];
  const left = new Int32Array(new SharedArrayBuffer(4));
  const worker = new Worker(new URL(import.meta.url), { workerData: { behaviour, left } });
  worker.on("error", (error) => {
    tell({ kind: "error", name: error.name, code: error.code, message: error.message });
    process.exit(1);
  });
  worker.on("message", ({ exitCode }) => {
    if (exitCode !== undefined) process.exit(exitCode);
    process.on("exit", (code) => {
      worker.postMessage({ exitCode: code });
      tell({ kind: "leaving", told: Atomics.wait(left, 0, 0, 5000) !== "timed-out" });
    });
    setInterval(() => {}, 1000);
    behaviours[behaviour]();
  });
} else {
  parentPort.on("message", () => {}); // stays, as the engine does
  await holdMembership();
}
