// Builds and runs the C++ tests of test/native/, which need no Node: plain, under the address and undefined-behaviour sanitizers, and under
// the thread sanitizer. Usage: node scripts/test-native.mjs [plain|address|thread]...; objects are kept in native/build/test/.
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, statSync } from "node:fs";
import { availableParallelism } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../", import.meta.url));
const compiler = process.env.CXX ?? "g++";
const commonFlags = ["-std=c++20", "-Wall", "-Wextra", "-Werror", "-pthread"];

const FLAGS = {
  plain: ["-O2"],
  address: ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
  thread: ["-O1", "-g", "-fsanitize=thread"],
};

/** The floors that need neither Node nor onnxruntime. */
const floors = ["native/common", "native/transport", "native/collectives"];

function listFiles(directory, ending) {
  return readdirSync(join(root, directory))
    .filter((name) => name.endsWith(ending))
    .map((name) => join(root, directory, name));
}

const headers = [...floors, "test/native"].flatMap((directory) => listFiles(directory, ".h"));
const newestHeaderMs = Math.max(...headers.map((file) => statSync(file).mtimeMs));

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

function objectOf(variant, source) {
  return join(root, "native/build/test", variant, `${basename(source)}.o`);
}

async function compile(variant, source) {
  const object = objectOf(variant, source);
  const changedMs = Math.max(statSync(source).mtimeMs, newestHeaderMs);
  if (existsSync(object) && statSync(object).mtimeMs > changedMs) return;
  await run(compiler, [...commonFlags, ...FLAGS[variant], "-c", source, "-o", object]);
}

async function testVariant(variant) {
  mkdirSync(join(root, "native/build/test", variant), { recursive: true });
  const sources = floors.flatMap((directory) => listFiles(directory, ".cc"));
  const tests = listFiles("test/native", "_test.cc");
  await runAll([...tests, ...sources].map((source) => () => compile(variant, source)));
  for (const test of tests) {
    const program = objectOf(variant, test).replace(/\.cc\.o$/, "");
    const objects = [test, ...sources].map((source) => objectOf(variant, source));
    await run(compiler, [...FLAGS[variant], ...objects, "-o", program, "-pthread"]);
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
