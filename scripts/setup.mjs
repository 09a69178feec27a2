/**
 * Makes a fresh checkout ready to run: dependencies, native addon, compiled TypeScript. `npm start` and `npm test` begin with it, so
 * it looks at file times only and says nothing when there is nothing to do. Needs Node alone, as it runs before any installation.
 */
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const OLDEST_NODE_MAJOR = 20;

/** In the order in which each needs the one before. */
const steps = [
  {
    what: "installing the dependencies",
    isDone: () => isNewer("node_modules/.package-lock.json", ["package-lock.json"]),
    command: () => [...npm(), "ci", "--no-audit", "--no-fund", "--loglevel=error"],
  },
  {
    what: "building the native addon (about a minute)",
    isDone: () => isNewer("native/build/Release/shardrun.node", filesBelow("native", /\.(cc|h|gyp)$/)),
    command: () => [process.execPath, "scripts/build-native.mjs"],
  },
  {
    what: "compiling TypeScript",
    isDone: () => isNewer("dist/.built", [...filesBelow("src", /\.ts$/), "tsconfig.json", "tsconfig.build.json"]),
    command: () => [process.execPath, "scripts/build.mjs"],
  },
];

function isNewer(product, sources) {
  if (!existsSync(join(root, product))) return false;
  const madeMs = statSync(join(root, product)).mtimeMs;
  return sources.every((source) => statSync(join(root, source)).mtimeMs <= madeMs);
}

function filesBelow(directory, pattern) {
  return readdirSync(join(root, directory), { recursive: true })
    .filter((file) => pattern.test(file) && !file.startsWith("build"))
    .map((file) => join(directory, file));
}

/** The npm that runs this script, else the one on the path. */
function npm() {
  const running = process.env.npm_execpath;
  return running === undefined ? ["npm"] : [process.execPath, running];
}

function fail(message) {
  console.error(`shardrun: ${message}`);
  process.exit(1);
}

if (Number(process.versions.node.split(".")[0]) < OLDEST_NODE_MAJOR) {
  fail(`Node ${process.versions.node} is too old: install Node ${OLDEST_NODE_MAJOR} or later (https://nodejs.org).`);
}
for (const { what, isDone, command } of steps) {
  if (isDone()) continue;
  console.error(`shardrun: ${what} ...`);
  const [program, ...args] = command();
  const { status, error } = spawnSync(program, args, { cwd: root, stdio: ["ignore", "inherit", "inherit"] });
  if (error !== undefined) fail(`${what} failed: ${error.message}.`);
  if (status !== 0)
    fail(`${what} failed: ${[program, ...args].join(" ")} ended with ${status ?? "a signal"}, see above.`);
}
