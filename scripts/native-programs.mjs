// Builds C++ programs that use native/ without Node: its tests, and what measures it. Objects and programs are kept in
// native/build/programs/, one directory per variant, and compiled again when anything they are made from is newer.
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../", import.meta.url));
const compiler = process.env.CXX ?? "g++";
/** As native/binding.gyp has them. */
const commonFlags = [
  "-std=c++20",
  "-Wall",
  "-Wextra",
  "-Wno-restrict",
  "-Wno-unknown-warning-option",
  "-Werror",
  "-ffp-contract=off",
  "-pthread",
];

const FLAGS = {
  plain: ["-O3"],
  address: ["-O0", "-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
  thread: ["-O0", "-g1", "-fsanitize=thread"],
};
export const VARIANTS = Object.keys(FLAGS);

/** The floors that need neither Node nor onnxruntime. */
const floors = ["native/common", "native/transport", "native/collectives", "native/kernels"];

/** Absolute paths of the files in a directory of this checkout whose names end so. */
export function listFiles(directory, ending) {
  return readdirSync(join(root, directory))
    .filter((name) => name.endsWith(ending))
    .map((name) => join(root, directory, name));
}

const sources = floors.flatMap((directory) => listFiles(directory, ".cc"));
const headers = [...floors, "test/native"].flatMap((directory) => listFiles(directory, ".h"));
const newestMs = (files) => Math.max(...files.map((file) => statSync(file).mtimeMs));

/** Standard output and error of a command; rejects with them when it does not succeed. */
export function run(command, commandArguments) {
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

/**
 * Programs of one source file each, linked with all floors.
 * @param variant one of VARIANTS
 * @returns their paths, in the order of `programSources`
 */
export async function buildPrograms(variant, programSources) {
  const directory = join(root, "native/build/programs", variant);
  const objectOf = (source) => join(directory, `${basename(source, ".cc")}.o`);
  mkdirSync(directory, { recursive: true });
  // All floors in one translation unit compile three times as fast as each file by itself.
  const allSources = join(directory, "all_floors.cc");
  writeFileSync(allSources, sources.map((source) => `#include "${source}"\n`).join(""));
  await runAll([
    () => compile(variant, allSources, objectOf(allSources), [...sources, ...headers]),
    ...programSources.map((source) => () => compile(variant, source, objectOf(source), [source, ...headers])),
  ]);
  const link = async (source) => {
    const program = join(directory, basename(source, ".cc"));
    await run(compiler, [...FLAGS[variant], objectOf(source), objectOf(allSources), "-o", program, "-pthread"]);
    return program;
  };
  const programs = [];
  for (const source of programSources) programs.push(await link(source));
  return programs;
}
