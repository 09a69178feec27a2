// Checks native/: the layout of its C++ (clang-format; --fix writes it), the direction of its includes (a floor includes only itself and
// the floors below), and that napi.h stays in binding/. Prints one line per finding; exit code 1 when there is one.
import { spawnSync } from "node:child_process";
import { chmodSync, readFileSync, readdirSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { getClangFormatPath } from "clang-format-node";

/** From the ground up. */
const FLOORS = ["common", "transport", "collectives", "kernels", "onnxruntime", "binding"];

const nativeDirectory = fileURLToPath(new URL("../native/", import.meta.url));
const files = FLOORS.flatMap((floor) =>
  readdirSync(join(nativeDirectory, floor), { recursive: true })
    .filter((file) => /\.(cc|h)$/.test(file))
    .map((file) => join(floor, file)),
);

/** What is wrong with the includes of one file. */
function checkIncludes(file) {
  const floor = file.split("/")[0];
  const findings = [];
  readFileSync(join(nativeDirectory, file), "utf8")
    .split("\n")
    .forEach((line, index) => {
      const include = /^\s*#include\s+(?:"(?<own>[^"]+)"|<(?<system>[^>]+)>)/.exec(line)?.groups;
      if (include === undefined) return;
      const place = `native/${file}:${index + 1}`;
      if (include.system === "napi.h" && floor !== "binding") {
        findings.push(`${place}: only native/binding/ may include napi.h`);
      }
      if (include.own === undefined) return;
      const target = normalize(join(dirname(file), include.own)).split("/")[0];
      if (FLOORS.includes(target) && FLOORS.indexOf(target) > FLOORS.indexOf(floor)) {
        findings.push(`${place}: ${floor}/ may not include ${target}/, which lies above it (${FLOORS.join(" < ")})`);
      }
    });
  return findings;
}

/** Formats in place, or returns the files that clang-format would change. */
function checkFormat(fix) {
  const clangFormat = getClangFormatPath(process.platform, process.arch);
  chmodSync(clangFormat, 0o755); // its package does that in an install script, which npm may have been told not to run
  const mode = fix ? ["-i"] : ["--dry-run", "-Werror"];
  const result = spawnSync(clangFormat, [...mode, ...files], { cwd: nativeDirectory, encoding: "utf8" });
  if (result.error !== undefined) throw result.error;
  return files
    .filter((file) => result.stderr.includes(`${file}:`))
    .map((file) => `native/${file}: not formatted; run: npm run format`);
}

const findings = [...files.flatMap(checkIncludes), ...checkFormat(process.argv.includes("--fix"))];
for (const finding of findings) console.error(finding);
if (findings.length > 0) process.exitCode = 1;
