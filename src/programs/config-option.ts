/**
 * `--config NAME|FILE`: a model of which only the shape counts. Its graph comes from the shape alone; where weights must be
 * there to be multiplied, a checkpoint of random ones is kept in the cache.
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { native } from "../collective/native.ts";
import { UsageError } from "../errors.ts";
import type { ComputeOptions } from "../model/compute-type.ts";
import { planRandomCheckpoint, type RandomCheckpoint } from "../model/random-checkpoint.ts";
import { Cache } from "../shards/cache.ts";
import { formatByteSize, readCacheSettings } from "../shards/cache-settings.ts";
import { BENCH_CONFIGS } from "./bench-configs.ts";
import { readCacheLimit, readModelDirectory } from "./model-options.ts";
import { readText, VALUE, type ProgramArguments } from "./options.ts";

const NAMES = Object.keys(BENCH_CONFIGS).join(", ");

export const CONFIG_OPTION = { ...VALUE, describe: `Random weights of this shape: ${NAMES} or a config.json` } as const;

/** What --config names; undefined without it. */
export interface Shape {
  readonly name: string;
  /** As config.json has it. */
  readonly config: Record<string, unknown>;
}

/** @throws {UsageError} when --config is neither a known shape nor a file of JSON, or --model names a model as well */
export function readShape(options: ProgramArguments): Shape | undefined {
  const name = readText(options, "config");
  if (name === undefined) return undefined;
  if (readText(options, "model") !== undefined) {
    throw new UsageError("--model names a model, --config one of random weights: only one of them can be meant.");
  }
  return { name, config: BENCH_CONFIGS[name] ?? readConfigFile(name) };
}

/** @throws {ModelError} when no model has this shape */
export function planShape({ name, config }: Shape, compute: ComputeOptions = {}): RandomCheckpoint {
  return planRandomCheckpoint(`--config ${name}`, config, compute);
}

/** The checkpoint named by --model, or one with random weights of the shape that --config names. */
export async function provideModelDirectory(options: ProgramArguments): Promise<string> {
  const shape = readShape(options);
  if (shape === undefined) return readModelDirectory(options);
  const checkpoint = planShape(shape);
  const key = createHash("sha256").update(JSON.stringify(shape.config)).digest("hex").slice(0, 16);
  const entry = await new Cache(readCacheSettings(readCacheLimit(options)), native().lockFile).openOrMake(
    { kind: "checkpoint", key, label: `random weights of ${shape.name}`, expectedBytes: checkpoint.bytes },
    (draft) => checkpoint.write(draft),
  );
  if (entry === undefined) {
    throw new UsageError(
      `--config ${shape.name} needs ${formatByteSize(checkpoint.bytes)} in the cache for a checkpoint of random weights, and cannot have them.`,
    );
  }
  return entry.directory;
}

function readConfigFile(file: string): Record<string, unknown> {
  try {
    return JSON.parse(readFileSync(file, "utf8")) as Record<string, unknown>;
  } catch (cause) {
    throw new UsageError(
      `--config expects ${NAMES} or a config.json, received "${file}": ${(cause as Error).message}.`,
      {
        cause,
      },
    );
  }
}
