// What the ranks of the failure tests do: the argument names it, SHARDRUN_RANK says who does it. A rank writes "now" when the moment
// has come at which it fails, or is made to fail by scripts/measure-failures.mjs.
import { writeSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

const model = fileURLToPath(new URL("../../../models/demo-stories", import.meta.url));
const load = async () => (await import("shardrun")).Generator.load(model, { tensorParallel: true });
const announce = () => writeSync(1, "now\n"); // at once, even if the event loop never runs again
const block = () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
/** Keeps the script going for longer than any test waits. */
const stay = () => sleep(60_000);

/** A follower needs no more than the import: it serves on after its script has ended. */
const follow = () => import("shardrun");

async function generateForever(generator, { onFirstToken }) {
  for (let calls = 0; ; calls++) {
    for await (const { step } of generator.generateTokens([1], { maxLength: 200, endToken: [] })) {
      if (calls === 0 && step === 0) onFirstToken();
    }
  }
}

function fail() {
  throw new Error("The script is wrong.");
}

/** While rank 0 generates, `failing` happens on it. */
const duringGeneration = (failing) => async () => {
  const act = () => {
    announce();
    failing();
  };
  await generateForever(await load(), { onFirstToken: () => setTimeout(act, 100) });
};

const afterLoad = (failing) => async () => {
  await load();
  announce();
  failing();
};

const beforeLoad = (failing) => async () => {
  await follow();
  announce();
  failing();
};

/** Rank 0 generates until the others fail it. */
const generate = async () => generateForever(await load(), { onFirstToken: () => {} });

/** Per scenario what rank 0 does and what the others do. */
const scenarios = {
  generating: [async () => generateForever(await load(), { onFirstToken: announce }), follow],
  idle: [() => load().then(announce).then(stay), () => follow().then(stay)],
  joining: [() => Promise.all([load().then(stay), announce()]), follow],
  async loading() {
    for (let loads = 0; ; loads++) {
      const generator = await load();
      if (loads === 1) announce();
      await generator.unloadModel();
    }
  },
  blocked: [
    async () => {
      const generator = await load();
      void generateForever(generator, { onFirstToken: () => {} });
      await sleep(100);
      announce();
      block();
    },
    () => follow().then(block),
  ],
  "leader-throws": [afterLoad(fail), follow],
  "leader-rejects": [duringGeneration(() => void Promise.reject(new Error("The script is wrong."))), follow],
  "leader-exits-0-before-load": [beforeLoad(() => process.exit(0)), follow],
  "leader-exits-3-before-load": [beforeLoad(() => process.exit(3)), follow],
  "leader-exits-0-after-load": [afterLoad(() => process.exit(0)), follow],
  "leader-exits-3-after-load": [afterLoad(() => process.exit(3)), follow],
  "leader-exits-0-generating": [duringGeneration(() => process.exit(0)), follow],
  "leader-exits-3-generating": [duringGeneration(() => process.exit(3)), follow],
  "follower-throws": [
    generate,
    () =>
      follow()
        .then(() => sleep(1500))
        .then(announce)
        .then(fail),
  ],
  "follower-exits-3": [
    generate,
    () =>
      follow()
        .then(() => sleep(1500))
        .then(announce)
        .then(() => process.exit(3)),
  ],
  "follower-exits-0": [
    async () => {
      const generator = await load();
      await generator.generateBatch([[1]], { maxLength: 20 });
      announce();
    },
    () => follow().then(() => process.exit(0)),
  ],
  "follower-never-imports": [() => (announce(), generate()), () => stay()],
};

const scenario = scenarios[process.argv[2]];
const [leader, follower] = Array.isArray(scenario) ? scenario : [scenario, follow];
await (process.env.SHARDRUN_RANK === "0" ? leader : follower)();
