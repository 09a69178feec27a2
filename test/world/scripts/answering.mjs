// Rank 1 joins at the first SIGUSR2; rank 0 then answers one prompt again and again until the second, and says with how many different answers.
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

const model = fileURLToPath(new URL("../../../models/demo-stories", import.meta.url));
let numSignals = 0;
process.on("SIGUSR2", () => (numSignals += 1));
while (process.env.SHARDRUN_RANK !== "0" && numSignals === 0) await sleep(20);
const { Generator, MpiInfo } = await import("shardrun");
if (MpiInfo.getCurRank() === 0) {
  const generator = await Generator.load(model, { tensorParallel: true });
  console.log("loaded");
  const answers = new Set();
  do {
    const [result] = await generator.generateBatch([[1]], { maxLength: 20, endToken: [] });
    answers.add(result.sequencesIds[0].join());
  } while (numSignals < 2);
  console.log(answers.size);
}
