/**
 * This installation of shardrun as other hosts need it: what it consists of, and a name that is another as soon as one byte of it
 * is. In: where it lies. Out: the files to be copied, without what only development or other platforms need.
 */
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { InternalError } from "../errors.ts";

/** Where this shardrun is installed. */
export const INSTALLATION = resolve(fileURLToPath(import.meta.url), "../../..");

/** What of an installation is copied, and under which name it is kept. */
export interface InstallationCopy {
  /** Version and content: "0.1.0-8d3c5f0e2b7a9146". */
  readonly name: string;
  /** What `files` are relative to: the directory that holds shardrun and the packages that it needs. */
  readonly root: string;
  readonly files: readonly string[];
  /** Where shardrun lies below the root; "" in a checkout, "node_modules/shardrun" where another package depends on it. */
  readonly directory: string;
  readonly numBytes: number;
}

/** Of shardrun itself; of the packages that it needs, everything that running needs. */
const OWN_PARTS = ["package.json", "dist", "native/build/Release", "models/demo-stories"];
/** Types, maps, texts, sources and what compilers leave behind, which nothing reads while running. */
const NOT_NEEDED = /\.([cm]?ts|map|md|h|cc|gypi?|[oad])$|(^|\/)\./;
const NAME_DIGITS = 16;

/** Lists and hashes the files of an installation: some 50 MiB, a fraction of a second. */
export function describeInstallation(directory = INSTALLATION): InstallationCopy {
  const packages = [...listPackages(directory)];
  const root = [directory, ...packages].reduce(commonAncestor);
  const files = [
    ...OWN_PARTS.flatMap((part) => listFiles(join(directory, part))),
    ...packages.flatMap((path) => listFiles(path)),
  ]
    .map((path) => relative(root, path))
    .filter((path) => !NOT_NEEDED.test(path) && !isForOtherPlatform(path))
    .sort();
  const hash = createHash("sha256").update(files.join("\n"));
  let numBytes = 0;
  for (const file of files) {
    const content = readFileSync(join(root, file));
    hash.update(createHash("sha256").update(content).digest());
    numBytes += content.byteLength;
  }
  const { version } = readManifest(directory);
  const name = `${version}-${hash.digest("hex").slice(0, NAME_DIGITS)}`;
  return { name, root, files, directory: relative(root, directory), numBytes };
}

interface Manifest {
  readonly version: string;
  readonly dependencies?: Readonly<Record<string, string>>;
}

function readManifest(directory: string): Manifest {
  return JSON.parse(readFileSync(join(directory, "package.json"), "utf8")) as Manifest;
}

/** The directories of all packages that this one needs, directly or not, as Node finds them. */
function listPackages(directory: string, found = new Set<string>()): Set<string> {
  for (const name of Object.keys(readManifest(directory).dependencies ?? {})) {
    const path = findPackage(directory, name);
    if (found.has(path)) continue;
    found.add(path);
    listPackages(path, found);
  }
  return found;
}

function findPackage(from: string, name: string): string {
  for (let directory = from; ; directory = dirname(directory)) {
    const path = join(directory, "node_modules", name);
    if (existsSync(join(path, "package.json"))) return path;
    if (directory === dirname(directory)) {
      throw new InternalError(`The package ${name}, which ${from} needs, is not installed. Run npm ci there.`);
    }
  }
}

/** All files at or below a path; what lies in a nested node_modules belongs to other packages. */
function listFiles(path: string): string[] {
  if (!existsSync(path)) throw new InternalError(`This installation of shardrun is not whole: there is no ${path}.`);
  const entries = readdirIfDirectory(path);
  if (entries === undefined) return [path];
  return entries.filter((name) => name !== "node_modules").flatMap((name) => listFiles(join(path, name)));
}

function readdirIfDirectory(path: string): string[] | undefined {
  try {
    return readdirSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOTDIR") return undefined;
    throw error;
  }
}

/** bin/napi-v6/darwin/arm64/... is nothing for linux/x64. */
function isForOtherPlatform(path: string): boolean {
  const [, platform, architecture] = /(?:^|\/)(darwin|linux|win32)\/(arm64|x64)\//.exec(path) ?? [];
  return platform !== undefined && (platform !== process.platform || architecture !== process.arch);
}

function commonAncestor(one: string, other: string): string {
  const [words, others] = [one.split(sep), other.split(sep)];
  const numCommon = words.findIndex((word, index) => word !== others[index]);
  return (numCommon < 0 ? words : words.slice(0, numCommon)).join(sep) || sep;
}
