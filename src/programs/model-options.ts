/** The options of every ready-made program that loads a model. */
import { fileURLToPath } from "node:url";
import type { LoadOptions } from "../api/load.ts";
import {
  BLOCK_SIZES,
  COMPUTE_TYPES,
  DEFAULT_BLOCK_SIZE,
  type ComputeOptions,
  type ComputeType,
} from "../model/compute-type.ts";
import { parseByteSize } from "../shards/cache-settings.ts";
import { readNumber, readText, VALUE, type ProgramArguments } from "./options.ts";

/** A small story teller that comes with shardrun. */
export const BUNDLED_MODEL = fileURLToPath(new URL("../../models/demo-stories", import.meta.url));

export const MODEL_OPTIONS = {
  model: {
    ...VALUE,
    describe: "Checkpoint directory in Hugging Face layout, or GGUF file [default: the bundled story teller]",
  },
  "compute-type": { ...VALUE, describe: `How products are computed: ${COMPUTE_TYPES.join(", ")} [default: default]` },
  "block-size": {
    ...VALUE,
    describe: `Of int4: inputs that share a scale, ${BLOCK_SIZES.join(", ")}; given, all matrices go in 4 bits [default: ${DEFAULT_BLOCK_SIZE}]`,
  },
  "intra-threads": {
    ...VALUE,
    describe: 'Compute threads of each rank, or "auto": all cores it may use [default: auto]',
  },
  "max-context": { ...VALUE, describe: "Positions of a sequence, prompt included [default: the model's]" },
  "no-cache": { type: "boolean", describe: "Convert weights in memory, and neither use nor fill the cache" },
  "cache-limit": { ...VALUE, describe: "Most bytes of each host's cache, like 20GB [default: 32GB]" },
  verify: { type: "boolean", describe: "Compare every step's hidden states over the ranks" },
} as const;

export function readModelDirectory(options: ProgramArguments): string {
  return readText(options, "model") ?? BUNDLED_MODEL;
}

/** How products are to be computed; whether that exists, checkLoadOptions says. */
export function readComputeOptions(options: ProgramArguments): ComputeOptions {
  return {
    computeType: readText(options, "compute-type") as ComputeType | undefined,
    blockSize: readNumber(options, "block-size"),
  };
}

/** Load options for one model over the whole world. */
export function readLoadOptions(options: ProgramArguments): LoadOptions {
  const intraThreads = readText(options, "intra-threads") ?? "auto";
  return {
    tensorParallel: true,
    ...readComputeOptions(options),
    intraThreads: intraThreads === "auto" ? "auto" : readNumber(options, "intra-threads"),
    maxContext: readNumber(options, "max-context"),
    verify: options["verify"] === true,
    cache: options["no-cache"] !== true,
    cacheLimit: readCacheLimit(options),
  };
}

/** Bytes; undefined: as the environment says. */
export function readCacheLimit(options: ProgramArguments): number | undefined {
  const limit = readText(options, "cache-limit");
  return limit === undefined ? undefined : parseByteSize(limit, "--cache-limit is");
}
