// Every rank loads a whole model of its own. Rank 0 ends at once; rank 1 generates until well after the news of that, and prints
// how many different answers it got.
import { Generator, MpiInfo } from "shardrun";

const [model] = process.argv.slice(2);
const GENERATING_MS = 1500;

if (MpiInfo.getCurRank() === 1) {
  const answers = new Set();
  const generator = await Generator.load(model);
  for (const end = performance.now() + GENERATING_MS; performance.now() < end;) {
    const [{ sequencesIds }] = await generator.generateBatch([[1]], { maxLength: 20 });
    answers.add(String(sequencesIds));
  }
  await generator.unloadModel();
  console.log(answers.size);
}
