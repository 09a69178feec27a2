// Builds and runs the C++ tests of test/native/, which need no Node: plain, under the address and undefined-behaviour sanitizers, and under
// the thread sanitizer. Usage: node scripts/test-native.mjs [plain|address|thread]...
import { basename } from "node:path";
import { VARIANTS, buildPrograms, listFiles, run } from "./native-programs.mjs";

const requested = process.argv.slice(2);
try {
  for (const variant of requested.length > 0 ? requested : VARIANTS) {
    for (const program of await buildPrograms(variant, listFiles("test/native", "_test.cc"))) {
      console.log(`${variant} ${basename(program)}: ${(await run(program, [])).trim()}`);
    }
  }
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
