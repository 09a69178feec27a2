// Rank 0 generates until it is ended.
import { fileURLToPath } from "node:url";
import { Generator, MpiInfo } from "shardrun";

const model = fileURLToPath(new URL("../../../models/demo-stories", import.meta.url));
const generator = await Generator.load(model, { tensorParallel: true });
for (let calls = 0; MpiInfo.getCurRank() === 0; calls++) {
  await generator.generateBatch([[1]], { maxLength: 100, endToken: [] });
  if (calls === 0) console.log("generating");
}
