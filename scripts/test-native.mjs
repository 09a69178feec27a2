// Builds and runs the C++ tests of test/native/, which need no Node: plain, under the address and undefined-behaviour sanitizers, and under
// the thread sanitizer. Usage: node scripts/test-native.mjs [plain|address|thread]...; objects are kept in native/build/test/.
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../", import.meta.url));
const compiler = process.env.CXX ?? "g++";
const commonFlags = ["-std=c++20", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off", "-pthread"];

const FLAGS = {
  plain: ["-O2"],
  address: ["-O0", "-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
  thread: ["-O0", "-g1", "-fsanitize=thread"],
};

/** The floors that need neither Node nor onnxruntime. */
const floors = ["native/common", "native/transport", "native/collectives", "native/kernels"];

function listFiles(directory, ending) {
  return readdirSync(join(root, directory))
    .filter((name) => name.endsWith(ending))
    .map((name) => join(root, directory, name));
}

const sources = floors.flatMap((directory) => listFiles(directory, ".cc"));
const headers = [...floors, "test/native"].flatMap((directory) => listFiles(directory, ".h"));
const tests = listFiles("test/native", "_test.cc");
const newestMs = (files) => Math.max(...files.map((file) => statSync(file).mtimeMs));

/** Resolves when the command succeeds; rejects with what it printed when it does not. */
function run(command, commandArguments) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, commandArguments, { cwd: root });
    let output = "";
    child.stdout.on("data", (data) => (output += data));
    child.stderr.on("data", (data) => (output += data));
    child.on("error", reject);
    child.on("close", (code, signal) => {
      if (code === 0) resolve(output);
      else reject(new Error(`${basename(command)} ended with ${code ?? signal}:\n${output}`));
    });
  });
}

/** Runs the jobs, as many at once as there are cores. */
async function runAll(jobs) {
  const queue = [...jobs];
  const work = async () => {
    for (let job = queue.shift(); job !== undefined; job = queue.shift()) await job();
  };
  await Promise.all(Array.from({ length: availableParallelism() }, work));
}

/** Compiles unless the object is newer than all that it is made from. */
async function compile(variant, source, object, madeFrom) {
  if (existsSync(object) && statSync(object).mtimeMs > newestMs(madeFrom)) return;
  await run(compiler, [...commonFlags, ...FLAGS[variant], "-c", source, "-o", object]);
}

async function testVariant(variant) {
  const directory = join(root, "native/build/test", variant);
  const objectOf = (source) => join(directory, `${basename(source, ".cc")}.o`);
  mkdirSync(directory, { recursive: true });
  // All floors in one translation unit compile three times as fast as each file by itself.
  const allSources = join(directory, "all_floors.cc");
  writeFileSync(allSources, sources.map((source) => `#include "${source}"\n`).join(""));
  await runAll([
    () => compile(variant, allSources, objectOf(allSources), [...sources, ...headers]),
    ...tests.map((test) => () => compile(variant, test, objectOf(test), [test, ...headers])),
  ]);
  for (const test of tests) {
    const program = join(directory, basename(test, ".cc"));
    await run(compiler, [...FLAGS[variant], objectOf(test), objectOf(allSources), "-o", program, "-pthread"]);
    console.log(`${variant} ${basename(program)}: ${(await run(program, [])).trim()}`);
  }
}

const requested = process.argv.slice(2);
try {
  for (const variant of requested.length > 0 ? requested : Object.keys(FLAGS)) await testVariant(variant);
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
