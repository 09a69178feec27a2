// The same script under every engine: rank 0 prints the greedy answer to one prompt as JSON. Arguments: load options as JSON.
import { fileURLToPath } from "node:url";
import { Generator, MpiInfo } from "shardrun";

const model = fileURLToPath(new URL("../../../models/demo-stories", import.meta.url));
const options = JSON.parse(process.argv[2] ?? '{ "tensorParallel": true }');
const generator = await Generator.load(model, options);
const results = await generator.generateBatch([[1, 403]], { maxLength: 24 });
if (MpiInfo.getCurRank() === 0) {
  const { ranks } = await generator.statistics();
  console.log(JSON.stringify({ ids: results[0].sequencesIds[0], numRanks: ranks.length }));
}
await generator.unloadModel();
