// What two sessions of one model add to the anonymous memory of a process that does nothing else, and what they answer.
//     node --expose-gc session-memory.mjs shared|apart WEIGHT_FILE OFFSET SIZE  ->  {"added": [bytes, bytes], "answers": [[...], [...]]}
import { readFileSync } from "node:fs";
import { native } from "../../dist/collective/native.js";
import { findRuntimeLibrary } from "../../dist/collective/runtime-library.js";
import { encodeModel } from "../../dist/model/onnx-format.js";

const [mode, file, offset, size] = process.argv.slice(2);
const SIZE = Number(size);

// x: [B, D]   w: [D, D]   y: [B, D]
const source = { kind: "file", file, offset: Number(offset), dataType: "float32", shape: [SIZE, SIZE] };
const model = encodeModel({
  name: "product",
  inputs: [{ name: "x", dataType: "float32", shape: ["B", SIZE] }],
  outputs: [{ name: "y", dataType: "float32", shape: ["B", SIZE] }],
  nodes: [
    {
      name: "product",
      opType: "FusedMatMul",
      domain: "com.microsoft",
      inputs: ["x", "w"],
      outputs: ["y"],
      attributes: { transB: { kind: "int", value: 1 } },
    },
  ],
  weights: new Map([["w", { name: "w", dataType: "float32", shape: [SIZE, SIZE], source }]]),
});

function anonymousBytes() {
  globalThis.gc();
  return Number(/RssAnon:\s+(\d+) kB/.exec(readFileSync("/proc/self/status", "utf8"))[1]) * 1024;
}

function connectAlone() {
  const peers = [{ rank: 0, host: "here", address: "" }];
  const group = { id: 0, epoch: 0, rank: 0, worldSize: 1, peers, transport: "auto", timeoutMs: 10_000 };
  return native().connect(undefined, group);
}

native().openRuntime(findRuntimeLibrary());
const data = native().mapFile(file, Number(offset), SIZE * SIZE * 4);
const prepackedWeights = mode === "shared" ? native().createPrepackedWeights() : undefined;
const communicators = [await connectAlone(), await connectAlone()];
const sessions = [];
const added = [];
for (const communicator of communicators) {
  const before = anonymousBytes();
  const weights = [{ name: "w", dataType: "float32", shape: [SIZE, SIZE], data }];
  sessions.push(await native().createSession({ model, weights, intraThreads: 1, communicator, prepackedWeights }));
  added.push(anonymousBytes() - before);
}
prepackedWeights?.close();
const x = new Uint8Array(new Float32Array(SIZE).fill(0.5).buffer);
const feeds = [{ name: "x", dataType: "float32", shape: [1, SIZE], data: x }];
const runs = await Promise.all(sessions.map((session) => session.run({ feeds, fetch: ["y"] })));
const answers = runs.map(({ outputs: [y] }) => [...new Float32Array(y.data.buffer, y.data.byteOffset, SIZE)]);
console.log(JSON.stringify({ added, answers }));
