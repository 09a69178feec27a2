// What each rank holds of the model: rank 0 prints the greedy answer to one prompt, and every rank's bytes of weights, as JSON.
import { fileURLToPath } from "node:url";
import { Generator, MpiInfo } from "shardrun";

const model = fileURLToPath(new URL("../../../models/demo-stories", import.meta.url));
const generator = await Generator.load(model, { tensorParallel: true });
const results = await generator.generateBatch([[1, 403]], { maxLength: 24 });
if (MpiInfo.getCurRank() === 0) {
  const { ranks } = await generator.statistics();
  console.log(
    JSON.stringify({
      ids: results[0].sequencesIds[0],
      weights: ranks.map(({ weights: { mappedBytes, copiedBytes } }) => mappedBytes + copiedBytes),
    }),
  );
}
await generator.unloadModel();
