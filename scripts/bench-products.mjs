// Measures products with packed weights: shardrun's own beside those of onnxruntime, in sessions of the same onnxruntime.
//     npm run bench:products -- [--model llama-1b] [--threads 1] [--rows 1,128] [--rounds 5] [--kernels avx2]
//         [--types float32]
//
// Each contender's session holds the products of several layers, so many that the weights of llama-1b do not stay in the cache; one
// run computes them all, once. The contenders take turns, and the table has the median round: milliseconds per layer, operations
// (a multiplication and an addition are two) and bytes of weights per second. Weights are random.
import { randomFillSync } from "node:crypto";
import { availableParallelism, cpus, loadavg } from "node:os";
import { parseArgs } from "node:util";
import { native } from "../dist/collective/native.js";
import { findRuntimeLibrary } from "../dist/collective/runtime-library.js";
import { encodeModel } from "../dist/model/onnx-format.js";

const { values: options } = parseArgs({
  options: {
    model: { type: "string", default: "llama-1b" },
    threads: { type: "string", default: "1" },
    rows: { type: "string", default: "1,128" },
    rounds: { type: "string", default: "5" },
    kernels: { type: "string" },
    types: { type: "string", default: "int8,int4" },
  },
});

/** Products of one layer as [inputs, outputs]: q|k|v, o, gate|up, down. */
const MODELS = {
  "llama-1b": {
    numLayers: 8,
    products: [
      [2048, 3072],
      [2048, 2048],
      [2048, 16384],
      [8192, 2048],
    ],
  },
  smollm2: {
    numLayers: 30,
    products: [
      [576, 960],
      [576, 576],
      [576, 3072],
      [1536, 576],
    ],
  },
};
const BLOCK_SIZE = 32;

const { numLayers, products } = MODELS[options.model];
const numThreads = Number(options.threads);

function randomBytes(count) {
  const bytes = new Uint8Array(count);
  for (let i = 0; i < count; i += 1 << 20) randomFillSync(bytes, i, Math.min(1 << 20, count - i));
  return bytes;
}

/** float32 numbers of the size of a scale. */
function scales(count) {
  return new Uint8Array(Float32Array.from({ length: count }, () => 0.001 + Math.random() / 100).buffer);
}

const weight = (dataType, shape, data) => ({ dataType, shape, data });

/** A packed weight of shardrun, of random floats. */
function pack(layout) {
  const packed = new Uint8Array(native().packedWeightBytes(layout));
  const { outFeatures, inFeatures } = layout;
  const floats = Float32Array.from({ length: inFeatures }, () => Math.random() - 0.5);
  const data = new Uint8Array(floats.buffer);
  const source = { data, dataType: "float32", numColumns: inFeatures, rowStride: 0 }; // every row is the same
  const target = {
    layout,
    packed,
    firstOutput: 0,
    numOutputs: outFeatures,
    numThreads: availableParallelism(),
    source,
  };
  if (layout.bits === 32) native().packFloat32(target);
  else if (layout.bits === 4) native().packInt4({ ...target, bounds: new Float32Array(outFeatures).fill(1) });
  else native().packInt8({ ...target, maxima: new Float32Array(outFeatures).fill(0.5) });
  return weight("uint8", [packed.length], packed);
}

function packedProduct(layout) {
  const names = { bits: "bits", outFeatures: "out_features", inFeatures: "in_features", blockSize: "block_size" };
  const attributes = Object.entries(names).flatMap(([key, name]) => (key in layout ? [[name, layout[key]]] : []));
  if (layout.bits === 4) attributes.push(["has_minimum", 0], ["in_offset", 0]);
  const opType = layout.bits === 32 ? "PackedMatMul" : "QuantizedMatMul";
  return { opType, domain: "shardrun", attributes, weights: [pack(layout)] };
}

/** name -> the node of one product, with its weights. */
const CONTENDERS = {
  "float32 shardrun": (inFeatures, outFeatures) => packedProduct({ bits: 32, outFeatures, inFeatures }),
  "float32 FusedMatMul": (inFeatures, outFeatures) => ({
    opType: "FusedMatMul",
    domain: "com.microsoft",
    attributes: [["transB", 1]],
    weights: [weight("float32", [outFeatures, inFeatures], scales(outFeatures * inFeatures))],
  }),
  "int8 shardrun": (inFeatures, outFeatures) => packedProduct({ bits: 8, outFeatures, inFeatures }),
  "int8 DynamicQuantizeMatMul": (inFeatures, outFeatures) => ({
    opType: "DynamicQuantizeMatMul",
    domain: "com.microsoft",
    attributes: [],
    weights: [
      weight("int8", [inFeatures, outFeatures], randomBytes(inFeatures * outFeatures)),
      weight("float32", [outFeatures], scales(outFeatures)),
    ],
  }),
  "int4 shardrun": (inFeatures, outFeatures) =>
    packedProduct({ bits: 4, outFeatures, inFeatures, blockSize: BLOCK_SIZE, hasMinimum: false, inOffset: 0 }),
  "int4 MatMulNBits": (inFeatures, outFeatures) => ({
    opType: "MatMulNBits",
    domain: "com.microsoft",
    attributes: [
      ["K", inFeatures],
      ["N", outFeatures],
      ["bits", 4],
      ["block_size", BLOCK_SIZE],
      ["accuracy_level", 4],
    ],
    weights: [
      weight(
        "uint8",
        [outFeatures, inFeatures / BLOCK_SIZE, BLOCK_SIZE / 2],
        randomBytes((outFeatures * inFeatures) / 2),
      ),
      weight("float32", [(outFeatures * inFeatures) / BLOCK_SIZE], scales((outFeatures * inFeatures) / BLOCK_SIZE)),
    ],
  }),
};

/** A session of all products of all layers: x_K [rows, K] -> one output per product, which nobody fetches. */
async function createContender(name, communicator) {
  const graph = { name: "products", inputs: [], outputs: [], nodes: [], weights: new Map() };
  const weights = [];
  for (const inFeatures of new Set(products.map(([size]) => size))) {
    graph.inputs.push({ name: `x_${inFeatures}`, dataType: "float32", shape: ["M", inFeatures] });
  }
  for (let layer = 0; layer < numLayers; layer++) {
    products.forEach(([inFeatures, outFeatures], i) => {
      const { opType, domain, attributes, weights: own } = CONTENDERS[name](inFeatures, outFeatures);
      const id = `layer_${layer}_${i}`;
      const named = own.map((each, j) => ({ name: `${id}_weight_${j}`, ...each }));
      for (const { name: weightName, dataType, shape } of named) {
        const source = { kind: "file", file: "", offset: 0, dataType, shape };
        graph.weights.set(weightName, { name: weightName, dataType, shape, source });
      }
      weights.push(...named);
      graph.nodes.push({
        ...{ name: id, opType, domain },
        inputs: [`x_${inFeatures}`, ...named.map(({ name: weightName }) => weightName)],
        outputs: [`y_${id}`],
        attributes: Object.fromEntries(attributes.map(([key, value]) => [key, { kind: "int", value }])),
      });
      graph.outputs.push({ name: `y_${id}`, dataType: "float32", shape: ["M", outFeatures] });
    });
  }
  const model = encodeModel(graph);
  const session = await native().createSession({ model, weights, intraThreads: numThreads, communicator });
  return { name, session, weightBytes: weights.reduce((sum, { data }) => sum + data.byteLength, 0), times: new Map() };
}

/** Milliseconds of one run with that many rows. */
async function time(session, rows) {
  const feeds = [...new Set(products.map(([size]) => size))].map((size) => ({
    ...{ name: `x_${size}`, dataType: "float32", shape: [rows, size] },
    data: new Uint8Array(Float32Array.from({ length: rows * size }, () => Math.random() * 2 - 1).buffer),
  }));
  return (await session.run({ feeds, fetch: [] })).nanoseconds / 1e6;
}

const median = (numbers) => numbers.toSorted((a, b) => a - b)[Math.floor((numbers.length - 1) / 2)];
const print = (cells) => console.log(`| ${cells.join(" | ")} |`);

native().openRuntime(findRuntimeLibrary());
if (options.kernels !== undefined) native().chooseKernels(options.kernels);
const communicator = await native().connect(undefined, {
  ...{ id: 0, epoch: 0, rank: 0, worldSize: 1, transport: "auto", timeoutMs: 10_000 },
  peers: [{ rank: 0, host: "localhost", address: "" }],
});
const contenders = [];
const types = options.types.split(",");
const names = Object.keys(CONTENDERS).filter((name) => types.includes(name.split(" ")[0]));
for (const name of names) contenders.push(await createContender(name, communicator));
const rowCounts = options.rows.split(",").map(Number);
for (let round = 0; round <= Number(options.rounds); round++) {
  for (const rows of rowCounts) {
    // in turn from either end: none always comes after the same other
    for (const { session, times } of round % 2 === 0 ? contenders : contenders.toReversed()) {
      const elapsedMs = await time(session, rows);
      if (round > 0) times.set(rows, [...(times.get(rows) ?? []), elapsedMs]); // the first only warms up
    }
  }
}

console.log(
  `Products of ${options.model}, ${numLayers} layers, ${numThreads} threads of ${availableParallelism()} cores (${cpus()[0].model}), ` +
    `kernels ${options.kernels ?? native().supportedKernels()[0]}, load ${loadavg()[0].toFixed(1)}, median of ${options.rounds} rounds\n`,
);
print(["rows", "products", "ms per layer", "Gop/s", "GB/s of weights"]);
print(["---:", "---", "---:", "---:", "---:"]);
const numWeights = numLayers * products.reduce((sum, [inFeatures, outFeatures]) => sum + inFeatures * outFeatures, 0);
for (const rows of rowCounts) {
  for (const { name, times, weightBytes } of contenders) {
    const ms = median(times.get(rows));
    const rates = [(2 * rows * numWeights) / ms / 1e6, weightBytes / ms / 1e6].map((rate) => rate.toPrecision(3));
    print([rows, name, (ms / numLayers).toPrecision(3), ...rates]);
  }
}
for (const { session } of contenders) await session.close();
await communicator.close();
