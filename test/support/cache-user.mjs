// A process that wants one entry of a cache, takes 300 ms to make it, and prints whether it did and what the entry holds.
// With "forever" it prints "making" and never finishes.
import { writeFileSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { native } from "../../dist/collective/native.js";
import { Cache } from "../../dist/shards/cache.js";

const [directory, mode] = process.argv.slice(2);
const cache = new Cache({ directory, limitBytes: 1e9 }, native().lockFile);
let wasMade = false;
const entry = await cache.openOrMake({ kind: "weights", key: "aa", label: "", expectedBytes: 5 }, async (draft) => {
  wasMade = true;
  writeFileSync(join(draft, "maker"), String(process.pid));
  if (mode === "forever") console.log("making");
  await sleep(mode === "forever" ? 1e6 : 300);
});
console.log(JSON.stringify({ wasMade, maker: readFileSync(join(entry.directory, "maker"), "utf8"), pid: process.pid }));
if (mode === "keep") await sleep(1e6);
