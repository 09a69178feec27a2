// `npm start`: the main job on the bundled model, two ranks of this machine.
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

const cli = fileURLToPath(new URL("../dist/cli.js", import.meta.url));
const args = ["generate", "-np", "2", "--oversubscribe", "--prompt", "Once upon a time", ...process.argv.slice(2)];
process.stdout.write("Once upon a time");
const { status } = spawnSync(process.execPath, [cli, ...args], { stdio: "inherit" });
process.exit(status ?? 1);
