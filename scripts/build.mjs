/** Compiles src/ to dist/ and makes the command executable. What tsc reports goes to the terminal as it is. */
import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const tsc = join(root, "node_modules/typescript/bin/tsc");
const command = join(root, "dist/cli.js");
/** Written last, so that scripts/setup.mjs can tell a finished build from a broken one. */
const stamp = join(root, "dist/.built");

rmSync(stamp, { force: true });
const { status } = spawnSync(process.execPath, [tsc, "-p", "tsconfig.build.json"], { cwd: root, stdio: "inherit" });
if (status !== 0) process.exit(status ?? 1);
if (existsSync(command)) chmodSync(command, 0o755);
writeFileSync(stamp, "");
