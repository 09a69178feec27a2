// What a script sees when a rank is lost: rank 0, without a launcher, loses rank 1 to the signal that the argument names, and goes on.
import { fileURLToPath } from "node:url";
import { Generator } from "shardrun";

const model = fileURLToPath(new URL("../../../models/demo-stories", import.meta.url));
const generate = (generator) => generator.generateBatch([[1]], { maxLength: 100, endToken: [] });
const describe = ({ name, code, rank, message }) => ({ name, code, rank, message });

const generator = await Generator.load(model, { tensorParallel: 2 });
const { ranks } = await generator.statistics();
setTimeout(() => process.kill(ranks[1].pid, process.argv[2]), 100);
const seen = [];
while (seen.length < 2) await generate(generator).catch((error) => seen.push(describe(error)));
await generator.unloadModel();

const second = await Generator.load(model, { tensorParallel: 2 });
const [result] = await generate(second);
console.log(JSON.stringify({ seen, numTokens: result.sequencesIds[0].length }));
await second.unloadModel();
