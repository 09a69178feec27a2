/**
 * One rank for rendezvous.test.ts: joins, then does what its one argument says. Tells what happens in JSON lines.
 * The membership lives in a thread of its own, as the engine's does, and the main thread leaves for it as the process ends.
 */
import { writeSync } from "node:fs";
import { setInterval } from "node:timers";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { readEnvironment } from "../../dist/environment.js";
import { chooseMeetingPoint } from "../../dist/rendezvous/meeting-point.js";
import { leaveSync, Membership } from "../../dist/rendezvous/membership.js";

/** Written at once: console would wait for the event loop, which some of these ranks block. */
function tell(event) {
  writeSync(1, `${JSON.stringify(event)}\n`);
}

async function holdMembership() {
  const environment = readEnvironment();
  const { rank } = environment.identity;
  const membership = await Membership.join({
    environment,
    meetingPoint: await chooseMeetingPoint(environment),
    dataAddress: `data-${rank}`,
  });
  const { leaveHandle, world } = membership;
  tell({ kind: "joined", world });
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
  else parentPort.postMessage({ leaveHandle }, [leaveHandle.port]);
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
};

if (isMainThread) {
  const behaviour = process.argv[2];
  const worker = new Worker(new URL(import.meta.url), { workerData: { behaviour } });
  worker.on("error", (error) => {
    tell({ kind: "error", name: error.name, code: error.code, message: error.message });
    process.exit(1);
  });
  worker.on("message", ({ leaveHandle, exitCode }) => {
    if (exitCode !== undefined) process.exit(exitCode);
    process.on("exit", (code) => tell({ kind: "leaving", told: leaveSync(leaveHandle, code, 5000) }));
    setInterval(() => {}, 1000);
    behaviours[behaviour]();
  });
} else {
  parentPort.on("message", () => {}); // stays, as the engine does
  await holdMembership();
}
