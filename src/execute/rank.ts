/**
 * What one rank does with a command, the same on the leader and on the followers: the models it holds, loaded, stepped
 * and let go in the order in which the leader says so.
 */
import { basename } from "node:path";
import { gatherValues } from "../collective/messages.ts";
import { native, type CollectiveTimes, type Communicator } from "../collective/native.ts";
import { InternalError } from "../errors.ts";
import { type FileFingerprint, fingerprintFiles } from "../model/fingerprint.ts";
import { loadModel, type Model } from "../model/model.ts";
import { findDisagreement, type LoadStatus } from "./agreement.ts";
import { readMemory, type MemoryUse } from "./memory.ts";
import { Cache } from "../shards/cache.ts";
import { readCacheSettings } from "../shards/cache-settings.ts";
import type { WeightCache } from "../shards/converted-weights.ts";
import type { WeightFootprint } from "../shards/materialise.ts";
import type { RankProfile } from "./profile.ts";
import { ShardModel, type StepResult } from "./shard-model.ts";
import type { Command, ModelSpecification, RowMove, Step } from "./step.ts";

/** One rank's costs, gathered by the "report" command. */
export interface RankReport extends MemoryUse {
  readonly rank: number;
  readonly host: string;
  readonly pid: number;
  readonly weights: WeightFootprint;
}

export interface MeasuredCollectives extends CollectiveTimes {
  readonly transport: string;
}

export class Rank {
  readonly #communicator: Communicator;
  readonly #host: string;
  readonly #models = new Map<number, ShardModel>();

  constructor(communicator: Communicator, host: string) {
    this.#communicator = communicator;
    this.#host = host;
  }

  get communicator(): Communicator {
    return this.#communicator;
  }

  /**
   * Loads this rank's shard, then waits for the others to have loaded theirs, of the same model.
   * @returns why the model could not be loaded, known to every rank alike, so that they still agree on what comes next
   */
  async load(id: number, specification: ModelSpecification): Promise<Error | undefined> {
    let shard: ShardModel | undefined;
    let files: FileFingerprint[] = [];
    let failure: Error | undefined;
    try {
      const model = await loadModel(specification.directory, specification);
      files = await fingerprintFiles(model.files);
      const cache = this.#openCache(specification, model, files);
      shard = await ShardModel.create(model, specification, this.#communicator, cache);
    } catch (error) {
      failure = error as Error;
    }
    const { directory } = specification;
    const statuses = await gatherValues<LoadStatus>(
      this.#communicator,
      { host: this.#host, directory, files, error: failure?.message },
      { label: `loading ${directory}`, timeoutMs: 0 },
    );
    const disagreement = findDisagreement(statuses);
    if (disagreement !== undefined) {
      await shard?.close();
      return failure ?? disagreement;
    }
    this.#models.set(id, shard!);
    return undefined;
  }

  step(id: number, step: Step): Promise<StepResult> {
    return this.#model(id).execute(step);
  }

  moveRow(id: number, move: RowMove): void {
    this.#model(id).moveRow(move);
  }

  async unload(id: number): Promise<void> {
    await this.#model(id).close();
    this.#models.delete(id);
  }

  /** Carries out a command of the leader; results are only for the leader itself. */
  async apply(command: Command): Promise<void> {
    switch (command.kind) {
      case "load":
        await this.load(command.model, command.specification);
        return;
      case "step":
        await this.step(command.model, command.step);
        return;
      case "moveRow":
        return this.moveRow(command.model, command.move);
      case "unload":
        return this.unload(command.model);
      case "measure":
        await this.measure(command.numBytes, command.numCalls);
        return;
      case "profile":
        await this.profile(command.model);
        return;
      case "report":
        await this.report();
        return;
    }
  }

  /** How long collectives of this size take, and over which transport. */
  async measure(numBytes: number, numCalls: number): Promise<MeasuredCollectives> {
    const times = await this.#communicator.measure(numBytes, numCalls);
    return { transport: this.#communicator.transport, ...times };
  }

  /** Where the time of a model's steps went, per rank, in rank order; of a model that was loaded to be profiled, once. */
  async profile(id: number): Promise<RankProfile[]> {
    const own = await this.#model(id).finishProfile(this.#host);
    return gatherValues(this.#communicator, own, { label: "profile" });
  }

  /** Every rank's report, in rank order. */
  async report(): Promise<RankReport[]> {
    const weights = { mappedBytes: 0, copiedBytes: 0, convertedBytes: 0 };
    for (const { footprint } of this.#models.values()) {
      weights.mappedBytes += footprint.mappedBytes;
      weights.copiedBytes += footprint.copiedBytes;
      weights.convertedBytes += footprint.convertedBytes;
    }
    const own: RankReport = {
      rank: this.#communicator.rank,
      host: this.#host,
      pid: process.pid,
      ...readMemory(),
      weights,
    };
    return gatherValues(this.#communicator, own, { label: "report" });
  }

  async close(): Promise<void> {
    for (const model of this.#models.values()) {
      await model.close();
    }
    this.#models.clear();
  }

  /** Where the weights that this rank converts are kept; undefined when the script does not want that. */
  #openCache(
    specification: ModelSpecification,
    { directory }: Model,
    fingerprints: readonly FileFingerprint[],
  ): WeightCache | undefined {
    if (!specification.cache) return undefined;
    const { rank, worldSize } = this.#communicator;
    const { computeType = "default" } = specification;
    const type = computeType === "default" ? "float32" : computeType;
    return {
      cache: new Cache(readCacheSettings(specification.cacheLimitBytes), native().lockFile),
      fingerprints,
      label: `${basename(directory)}, rank ${rank} of ${worldSize}, ${type}`,
    };
  }

  #model(id: number): ShardModel {
    const model = this.#models.get(id);
    if (model === undefined) {
      throw new InternalError(`Rank ${this.#communicator.rank} was asked to run model ${id}, which it has not loaded.`);
    }
    return model;
  }
}
