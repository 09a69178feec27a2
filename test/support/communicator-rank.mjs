/**
 * A process with communicators, for test/conformance/communicator-process.test.ts. Needs the compiled dist/.
 *
 *   communicator-rank.mjs rank RUN_ID RANK WORLD_SIZE TRANSPORT   prints its address, reads all addresses (a line of JSON), meets the others
 *                                                                in a barrier, then waits without a deadline for the last rank, which sleeps
 *   communicator-rank.mjs exit TRANSPORT                          process.exit(7) while a call waits
 *   communicator-rank.mjs worker TRANSPORT                        ends two worker_threads, one after the other, while a call waits in each
 */
import { randomUUID } from "node:crypto";
import { createInterface } from "node:readline";
import { Worker, isMainThread, parentPort, workerData } from "node:worker_threads";
import { native } from "../../dist/collective/native.js";

const secret = new Uint8Array(32).fill(7);
const listen = (runId, rank) => native().listen({ runId, rank, tcpHost: "127.0.0.1", secret });

async function connect(listener, rank, addresses, transport) {
  const peers = addresses.map((address, peer) => ({ rank: peer, host: "hosta", address }));
  const options = { id: 1, epoch: 1, rank, worldSize: peers.length, peers, transport, timeoutMs: 20_000 };
  return native().connect(listener, options);
}

/** Two ranks in this thread; rank 0 begins a call that rank 1 never joins. */
async function waitForNobody(transport) {
  const runId = randomUUID();
  const listeners = [listen(runId, 0), listen(runId, 1)];
  const addresses = listeners.map(({ address }) => address);
  const [waiting] = await Promise.all(listeners.map((listener, rank) => connect(listener, rank, addresses, transport)));
  void waiting.allReduce(new Uint8Array(1 << 20), "float32", "sum", { timeoutMs: 0 });
}

async function runRank(runId, rank, worldSize, transport) {
  const listener = listen(runId, rank);
  console.log(listener.address);
  const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  const addresses = JSON.parse((await lines.next()).value);
  const communicator = await connect(listener, rank, addresses, transport);
  await communicator.barrier();
  console.log("ready");
  if (rank === worldSize - 1) return;
  try {
    await communicator.allReduce(new Uint8Array(16), "float32", "sum", { label: "layers.0.o_proj", timeoutMs: 0 });
  } catch (error) {
    console.log(JSON.stringify({ message: error.message, rank: error.rank, timeMs: Date.now() }));
    process.exit(1);
  }
}

async function endWorker(transport) {
  const worker = new Worker(new URL(import.meta.url), { workerData: { transport } });
  await new Promise((resolve, reject) => worker.once("message", resolve).once("error", reject));
  await worker.terminate();
}

if (!isMainThread) {
  await waitForNobody(workerData.transport);
  setTimeout(() => parentPort.postMessage("waiting"), 50);
} else {
  const [scenario, ...rest] = process.argv.slice(2);
  if (scenario === "rank") await runRank(rest[0], Number(rest[1]), Number(rest[2]), rest[3]);
  if (scenario === "exit") {
    await waitForNobody(rest[0]);
    setTimeout(() => process.exit(7), 50);
  }
  if (scenario === "worker") {
    await endWorker(rest[0]);
    await endWorker(rest[0]);
    console.log("both ended");
  }
}
