// A rank-filtered script, as under mpirun: every rank runs it, rank 0 has the answer.
//     npx shardrun -np 2 node scripts/generate.mjs [MODEL_DIRECTORY [PROMPT]]
import { fileURLToPath } from "node:url";
import { Generator, MpiInfo } from "shardrun";

const bundled = fileURLToPath(new URL("../models/demo-stories", import.meta.url));
const [model = bundled, prompt = "Once upon a time"] = process.argv.slice(2);

const generator = await Generator.load(model, { tensorParallel: true });
if (MpiInfo.getCurRank() === 0) {
  const [result] = await generator.generateBatch([generator.encode(prompt)], {
    maxLength: 64,
    includePromptInResult: false,
  });
  console.log(prompt + generator.decode(result.sequencesIds[0]));
}
await generator.unloadModel();
