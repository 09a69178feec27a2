// Builds the native addon, native/build/Release/shardrun.node, with node-gyp. npm runs this as the install script.
// Does nothing when the addon is newer than every source of it; --force builds all the same.
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const nativeDirectory = fileURLToPath(new URL("../native/", import.meta.url));
const addon = join(nativeDirectory, "build/Release/shardrun.node");

/** Every file that the addon is built from. */
function listSources() {
  return readdirSync(nativeDirectory, { recursive: true })
    .filter((file) => /\.(cc|h|gyp)$/.test(file) && !file.startsWith("build"))
    .map((file) => join(nativeDirectory, file));
}

function isUpToDate() {
  if (!existsSync(addon)) return false;
  const builtMs = statSync(addon).mtimeMs;
  return listSources().every((file) => statSync(file).mtimeMs <= builtMs);
}

/** node-gyp of this project, or (a package that depends on shardrun has no development dependencies) the one inside npm. */
function findNodeGyp() {
  const require = createRequire(import.meta.url);
  try {
    return require.resolve("node-gyp/bin/node-gyp.js");
  } catch {
    const npmCli = process.env.npm_execpath ?? "";
    const insideNpm = join(dirname(dirname(npmCli)), "node_modules/node-gyp/bin/node-gyp.js");
    if (existsSync(insideNpm)) return insideNpm;
    throw new Error("Building the native addon failed: node-gyp was not found. Install it with: npm install node-gyp");
  }
}

/** Headers that came with the running node are used where they lie, so that nothing is downloaded. */
function headerArguments() {
  const prefix = dirname(dirname(process.execPath));
  return existsSync(join(prefix, "include/node/node_api.h")) ? [`--nodedir=${prefix}`] : [];
}

function requireCompiler() {
  const compiler = process.env.CXX ?? "c++";
  const found = spawnSync(`${compiler} --version`, { shell: true, stdio: "ignore" });
  if (found.status !== 0) {
    throw new Error(
      `Building the native addon failed: no C++ compiler "${compiler}". ` +
        "Install one (Debian, Ubuntu: apt-get install g++ make), or name it in CXX, and run: npm run build:native",
    );
  }
}

function build(commands) {
  requireCompiler();
  const gypArguments = [findNodeGyp(), ...commands, "-C", nativeDirectory, "--jobs=max", ...headerArguments()];
  // Warnings are for us to mend; a compiler that we have not seen must not keep a user from installing.
  // Without CI they are printed.
  const strict = process.env.CI ? { CXXFLAGS: `${process.env.CXXFLAGS ?? ""} -Werror` } : {};
  const env = { ...process.env, ...strict };
  const result = spawnSync(process.execPath, gypArguments, { encoding: "utf8", env, maxBuffer: 1 << 28 });
  if (result.status === 0) {
    if (result.stderr.includes("warning:")) process.stderr.write(result.stderr);
    return;
  }
  process.stderr.write(result.stdout + result.stderr);
  throw new Error(
    `Building the native addon failed: node-gyp ended with ${result.status ?? result.signal}, see above.`,
  );
}

try {
  if (process.argv.includes("--force")) build(["rebuild"]);
  else if (!isUpToDate()) build(["configure", "build"]);
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
