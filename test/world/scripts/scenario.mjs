// Scripts as users write them, good and bad: the argument names one. Every rank runs it.
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Generator, MpiInfo } from "shardrun";

const model = fileURLToPath(new URL("../../../models/demo-stories", import.meta.url));
const isLeader = MpiInfo.getCurRank() === 0;
const load = (options = { tensorParallel: true }) => Generator.load(model, options);
const generate = async (generator) => (await generator.generateBatch([[1, 403]], { maxLength: 12 }))[0].sequencesIds[0];
const say = (value) => console.log(`${MpiInfo.getCurRank()}: ${JSON.stringify(value)}`);
const compute = (ms) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);

const scenarios = {
  async "guard-everything"() {
    if (isLeader) say(await generate(await load()));
  },

  async "do-not-guard"() {
    say(await generate(await load()));
  },

  /** Nothing but errors come of reading on rank 1, whatever is read. */
  async "read-everything"() {
    const generator = await load();
    const attempts = {
      generateBatch: async () => (await generator.generateBatch([[1]])).length,
      generateTokens: async () => (await generator.generateTokens([1]).next()).done,
      scoreBatch: async () => (await generator.scoreBatch([[1, 2]]))[0],
      forwardBatch: async () => (await generator.forwardBatch([[1, 2]])).shape,
      statistics: async () => (await generator.statistics()).ranks,
      encode: () => generator.encode("Once"),
    };
    for (const [name, attempt] of Object.entries(attempts)) {
      await (async () => attempt())().then(
        () => isLeader || say([name, "readable"]),
        ({ name, code, message }) => say([name, code, message]),
      );
    }
  },

  /** The results are computed on rank 0 and not looked at elsewhere. */
  async "different-calls"() {
    const generator = await load();
    if (isLeader) {
      say(await generate(generator));
    } else {
      await generator.scoreBatch([[1, 2, 3]]);
      await load();
      await generator.unloadModel();
      await generator.forwardBatch([[1]]);
    }
  },

  "exit-at-once"() {
    process.exit(0);
  },

  async "follower-blocks"() {
    if (!isLeader) return compute(3000);
    say(await generate(await load()));
  },

  async "leader-computes"() {
    if (!isLeader) return;
    compute(3000);
    const generator = await load();
    const first = await generate(generator);
    compute(3000);
    say([first, await generate(generator)]);
  },

  /** The follower's script goes on for a while after the leader's has ended, as under mpirun. */
  async "follower-goes-on"() {
    if (isLeader) return say(await generate(await load()));
    await sleep(1500);
    say("done");
  },

  async "follower-throws"() {
    if (isLeader) return say(await generate(await load()));
    await sleep(200);
    throw new Error("The script is wrong.");
  },

  async "two-models"() {
    const [one, other] = await Promise.all([load(), load()]);
    if (isLeader) say(await Promise.all([generate(one), generate(other), generate(one)]));
    await one.unloadModel();
    if (isLeader) say(await generate(other));
  },

  /** Each rank has a model of its own, and its own results. */
  async "not-parallel"() {
    say(await generate(await load({ tensorParallel: false })));
  },

  /** A group of another size than the world. */
  async "wrong-group"() {
    const error = await load({ tensorParallel: 3 }).catch((reason) => reason);
    say([error.name, error.message]);
  },

  async "load-fails-first"() {
    const failed = await Generator.load("/nonexistent", { tensorParallel: true }).catch((error) => error);
    if (isLeader) say([failed.name, failed.message]);
    const generator = await load({ tensorParallel: true, verify: true });
    if (isLeader) say(await generate(generator));
  },
};

await scenarios[process.argv[2]]();
