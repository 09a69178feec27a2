/**
 * Sessions whose process or thread ends without closing them; run as: node session-lifetime.mjs MODE. The ends: "script" (the script
 * is over), "exit" (process.exit during a run), "terminate" (worker.terminate during a run), "exit around" (process.exit during a
 * worker's run), "workers" (two threads at work at once).
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Worker, isMainThread, parentPort, workerData } from "node:worker_threads";
import { native } from "../../dist/collective/native.js";
import { findRuntimeLibrary } from "../../dist/collective/runtime-library.js";
import { encodeModel } from "../../dist/model/onnx-format.js";

const NUM_ELEMENTS = 1 << 20;

// x: [C]   w: [C], zeros   y: [C], a long way from x, past w at every step
function encodeLongGraph() {
  const shape = [NUM_ELEMENTS];
  const names = ["x", ...Array.from({ length: 200 }, (_, i) => `h${i}`), "y"];
  return encodeModel({
    name: "long",
    inputs: [{ name: "x", dataType: "float32", shape: ["C"] }],
    outputs: [{ name: "y", dataType: "float32", shape: ["C"] }],
    nodes: names.slice(1).flatMap((output, i) => [
      {
        name: `${output}.tanh`,
        opType: "Tanh",
        domain: "",
        inputs: [names[i]],
        outputs: [`${output}.tanh`],
        attributes: {},
      },
      { name: output, opType: "Add", domain: "", inputs: [`${output}.tanh`, "w"], outputs: [output], attributes: {} },
    ]),
    weights: new Map([
      [
        "w",
        {
          name: "w",
          dataType: "float32",
          shape,
          source: { kind: "file", file: "", offset: 0, dataType: "float32", shape },
        },
      ],
    ]),
  });
}

/** Weights as a model file gives them: mapped, and unmapped when JavaScript lets go of them. */
function mapZeros() {
  const directory = mkdtempSync(join(tmpdir(), "shardrun-test-"));
  const path = join(directory, "zeros");
  writeFileSync(path, new Uint8Array(NUM_ELEMENTS * 4));
  const data = native().mapFile(path, 0, NUM_ELEMENTS * 4);
  rmSync(directory, { recursive: true });
  return data;
}

/** Starts runs of a session that nobody closes; resolves when the first has ended and the next is under way. */
async function leaveRunning() {
  native().openRuntime(findRuntimeLibrary());
  const communicator = await native().connect(undefined, {
    id: 1,
    epoch: 0,
    rank: 0,
    worldSize: 1,
    peers: [{ rank: 0, host: "localhost", address: "" }],
    transport: "auto",
    timeoutMs: 1000,
  });
  const session = await native().createSession({
    model: encodeLongGraph(),
    weights: [{ name: "w", dataType: "float32", shape: [NUM_ELEMENTS], data: mapZeros() }],
    intraThreads: 2,
    communicator,
  });
  const cache = native().createKeyValueCache({ numRows: 1, maxContext: 64, tensors: [] });
  const feed = { name: "x", dataType: "float32", shape: [NUM_ELEMENTS], data: new Uint8Array(NUM_ELEMENTS * 4) };
  const run = () => session.run({ feeds: [feed], fetch: ["y"], cache: { cache, firstRow: 0, numRows: 1 } });
  await run();
  return { next: run() };
}

const mode = isMainThread ? process.argv[2] : workerData;

if (!isMainThread) {
  const { next } = await leaveRunning();
  parentPort.postMessage("running");
  await next;
} else if (mode === "script" || mode === "exit") {
  await leaveRunning();
  console.log("running");
  if (mode === "exit") process.exit(3);
} else {
  const workers = Array.from(
    { length: mode === "workers" ? 2 : 1 },
    () => new Worker(new URL(import.meta.url), { workerData: mode }),
  );
  const running = workers.map((worker) => new Promise((resolve) => worker.once("message", resolve)));
  const ended = workers.map((worker) => new Promise((resolve) => worker.once("exit", resolve)));
  await Promise.all(running);
  if (mode === "terminate") await workers[0].terminate();
  if (mode === "exit around") process.exit(3);
  console.log((await Promise.all(ended)).join());
}
