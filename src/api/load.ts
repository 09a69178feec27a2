/** The options of Generator.load: checked, and turned into an engine to load the model on. */
import { ROOT_RANK } from "../environment.ts";
import { UsageError } from "../errors.ts";
import { BLOCK_SIZES, COMPUTE_TYPES, type ComputeType } from "../model/compute-type.ts";
import { resolveIntraThreads } from "../execute/threads.ts";
import { environment, shareWorld, startAlone, startWithLocalFollowers, type EngineOfModel } from "./world.ts";

/** How a model is loaded; all may be left out. */
export interface LoadOptions {
  /** "cpu", or "auto", which is the CPU for now. */
  readonly device?: string;
  /**
   * true: one model over all ranks of the world; n: over n ranks, local ones being started when there is no launcher;
   * false: every rank its own whole model.
   */
  readonly tensorParallel?: boolean | number;
  /** Batches that run at the same time: 1 for now. */
  readonly interThreads?: number;
  /** How products are computed: "float32"; "int8" or "int4", with quantised matrices; "default", which is float32. */
  readonly computeType?: ComputeType | undefined;
  /**
   * Of int4: how many inputs share a scale, 32, 64, 128 or 256. 32 when left out, and then what a GGUF file of 4 bits holds in more
   * stays in 8.
   */
  readonly blockSize?: number | undefined;
  /** Compute threads of each rank. 0: OMP_NUM_THREADS, else min(4, cores this rank may use); "auto": all of them. */
  readonly intraThreads?: number | "auto";
  /** Positions of a sequence, prompt and new tokens together; the model's own number when left out. */
  readonly maxContext?: number;
  /** Compare every step's hidden states over the ranks, and fail when they differ. */
  readonly verify?: boolean;
  /** Trace every node of every step, for readProfile. */
  readonly profile?: boolean;
  /** Keep converted weights in the cache, for the next start. */
  readonly cache?: boolean;
  /** Most bytes that the cache of each host may hold; SHARDRUN_CACHE_LIMIT, else 32e9, when left out. */
  readonly cacheLimit?: number;
}

interface Rule {
  readonly accepts: string;
  readonly check: (value: unknown) => boolean;
}

const isPositive = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) > 0;

/** "a", "b" or "c" */
function listChoices(choices: readonly unknown[]): string {
  const quoted = choices.map((choice) => JSON.stringify(choice));
  return `${quoted.slice(0, -1).join(", ")} or ${quoted.at(-1)}`;
}

const RULES: Readonly<Record<keyof LoadOptions, Rule>> = {
  device: { accepts: '"cpu" or "auto"', check: (value) => value === "cpu" || value === "auto" },
  tensorParallel: {
    accepts: "true, false or the number of ranks",
    check: (value) => typeof value === "boolean" || isPositive(value),
  },
  interThreads: { accepts: "1: several workers are not there yet", check: (value) => value === 1 },
  computeType: {
    accepts: listChoices(COMPUTE_TYPES),
    check: (value) => (COMPUTE_TYPES as readonly unknown[]).includes(value),
  },
  blockSize: {
    accepts: listChoices(BLOCK_SIZES),
    check: (value) => (BLOCK_SIZES as readonly unknown[]).includes(value),
  },
  intraThreads: {
    accepts: 'a whole number of 0 or more, or "auto"',
    check: (value) => value === "auto" || value === 0 || isPositive(value),
  },
  maxContext: { accepts: "a whole number of 1 or more", check: isPositive },
  verify: { accepts: "true or false", check: (value) => typeof value === "boolean" },
  profile: { accepts: "true or false", check: (value) => typeof value === "boolean" },
  cache: { accepts: "true or false", check: (value) => typeof value === "boolean" },
  cacheLimit: {
    accepts: "a whole number of bytes, 0 or more",
    check: (value) => value === 0 || isPositive(value),
  },
};

/**
 * Checks what Generator.load was given, alone and against the world that this process belongs to.
 * @throws {UsageError} naming the option, its value and what is accepted
 */
export function checkLoadOptions(modelPath: string, options: LoadOptions): void {
  if (typeof modelPath !== "string") {
    throw new UsageError(`The model is ${JSON.stringify(modelPath)}, but must be the path of its directory.`);
  }
  for (const [name, value] of Object.entries(options)) {
    const rule = Object.hasOwn(RULES, name) ? RULES[name as keyof LoadOptions] : undefined;
    if (rule === undefined) {
      throw new UsageError(`There is no load option "${name}": the options are ${Object.keys(RULES).join(", ")}.`);
    }
    if (value !== undefined && !rule.check(value)) {
      throw new UsageError(`${name} is ${JSON.stringify(value)}, but must be ${rule.accepts}.`);
    }
  }
  const { tensorParallel = false } = options;
  const { worldSize } = environment.identity;
  if (typeof tensorParallel === "number" && worldSize > 1 && tensorParallel !== worldSize) {
    throw new UsageError(
      `tensorParallel is ${tensorParallel}, but the world has ${worldSize} ranks, and groups smaller than the world are ` +
        `not there yet: give true or ${worldSize}.`,
    );
  }
}

/** Whether this rank leads a model that is loaded like this; else it follows, and results are not for it. */
export function leadsModel({ tensorParallel = false }: LoadOptions): boolean {
  return tensorParallel === false || environment.identity.rank === ROOT_RANK;
}

/** Finds or starts the engine that the options, which must have been checked, ask for. */
export async function openEngine({ tensorParallel = false }: LoadOptions): Promise<EngineOfModel> {
  if (tensorParallel === false || tensorParallel === 1) {
    return startAlone();
  }
  // No launcher: n local ranks, this process being rank 0; true means one rank per NUMA node or GPU, here one.
  return shareWorld() ?? (tensorParallel === true ? startAlone() : startWithLocalFollowers(tensorParallel));
}

/** Compute threads of each rank on this engine. */
export function resolveThreads({ intraThreads = 0 }: LoadOptions, { engine }: EngineOfModel): number {
  return resolveIntraThreads(intraThreads, environment.numThreads, engine.settings.identity.localWorldSize);
}
