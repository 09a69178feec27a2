/**
 * What one rank does with a command, the same on the leader and on the followers: the models it holds, loaded, stepped
 * and let go in the order in which the leader says so.
 */
import { cpus } from "node:os";
import { basename } from "node:path";
import { gatherValues } from "../collective/messages.ts";
import { native, type CollectiveTimes, type Communicator, type MeasuredCalls } from "../collective/native.ts";
import { InternalError } from "../errors.ts";
import type { FileFingerprint } from "../model/fingerprint.ts";
import { readBootId } from "../rendezvous/process-identity.ts";
import { Cache } from "../shards/cache.ts";
import { readCacheSettings } from "../shards/cache-settings.ts";
import type { WeightCache } from "../shards/converted-weights.ts";
import type { WeightFootprint } from "../shards/materialise.ts";
import { findFailure, type LoadStatus } from "./agreement.ts";
import { readMemory, type MemoryUse } from "./memory.ts";
import type { RankProfile } from "./profile.ts";
import {
  provideModel,
  type HostTransfer,
  type ProvidedModel,
  type TransferWatcher,
  type World,
} from "./provide-model.ts";
import { ShardModel, type StepResult } from "./shard-model.ts";
import type { Command, ModelSpecification, RowMove, Step } from "./step.ts";

/** One rank's costs, gathered by the "report" command. */
export interface RankReport extends MemoryUse {
  readonly rank: number;
  readonly host: string;
  readonly pid: number;
  /** Of its machine's kernel, the same in all containers of a machine; "" where the system does not say. */
  readonly bootId: string;
  /** Its host's: how many, and which. */
  readonly processors: string;
  readonly weights: WeightFootprint;
}

export interface MeasuredCollectives extends CollectiveTimes {
  readonly transport: string;
}

/** A model that runs, and what lets its files go. */
interface LoadedModel {
  readonly shard: ShardModel;
  readonly release: () => void;
}

/** What loading came to. */
export type LoadOutcome =
  | { readonly failure: Error }
  /** On rank 0, what was sent to hosts without a copy of the model. */
  | { readonly failure?: undefined; readonly transfers: readonly HostTransfer[] };

export class Rank {
  readonly #world: World;
  readonly #watcher: TransferWatcher;
  readonly #models = new Map<number, LoadedModel>();

  /** @param watcher of weights that rank 0 sends to hosts that have none */
  constructor(world: World, watcher: TransferWatcher = { update: () => {}, end: () => {} }) {
    this.#world = world;
    this.#watcher = watcher;
  }

  get communicator(): Communicator {
    return this.#world.communicator;
  }

  /**
   * Loads this rank's shard, then waits for the others to have loaded theirs.
   * @returns why the model could not be loaded, known to every rank alike, so that they still agree on what comes next
   */
  async load(id: number, specification: ModelSpecification): Promise<LoadOutcome> {
    let provided: ProvidedModel | undefined;
    let shard: ShardModel | undefined;
    let failure: Error | undefined;
    try {
      provided = await provideModel(this.#world, specification, this.#watcher);
      const cache = this.#openCache(specification, provided.fingerprints);
      shard = await ShardModel.create(provided.model, specification, this.communicator, cache);
      provided.check();
    } catch (error) {
      failure = error as Error;
    }
    const statuses = await gatherValues<LoadStatus>(
      this.communicator,
      { host: this.#host, error: failure?.message },
      { label: `loading ${specification.directory}`, timeoutMs: 0 },
    );
    const known = findFailure(statuses);
    if (known !== undefined) {
      await shard?.close();
      provided?.release();
      return { failure: failure ?? known };
    }
    this.#models.set(id, { shard: shard!, release: () => provided!.release() });
    return { transfers: provided!.transfers };
  }

  step(id: number, step: Step): Promise<StepResult> {
    return this.#model(id).execute(step);
  }

  moveRow(id: number, move: RowMove): void {
    this.#model(id).moveRow(move);
  }

  async unload(id: number): Promise<void> {
    await this.#model(id).close();
    this.#models.get(id)!.release();
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
        await this.measure(command.calls);
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
  async measure({ numBytes, numCalls, nanoseconds, numRanks }: MeasuredCalls): Promise<MeasuredCollectives> {
    const times = await this.communicator.measure(numBytes, numCalls, nanoseconds, numRanks);
    return { transport: this.communicator.transport, ...times };
  }

  /** Where the time of a model's steps went, per rank, in rank order; of a model that was loaded to be profiled, once. */
  async profile(id: number): Promise<RankProfile[]> {
    const own = await this.#model(id).finishProfile(this.#host);
    return gatherValues(this.communicator, own, { label: "profile" });
  }

  /** Every rank's report, in rank order. */
  async report(): Promise<RankReport[]> {
    const weights = { mappedBytes: 0, copiedBytes: 0, convertedBytes: 0 };
    for (const { shard } of this.#models.values()) {
      const { footprint } = shard;
      weights.mappedBytes += footprint.mappedBytes;
      weights.copiedBytes += footprint.copiedBytes;
      weights.convertedBytes += footprint.convertedBytes;
    }
    const own: RankReport = {
      rank: this.communicator.rank,
      host: this.#host,
      pid: process.pid,
      bootId: readBootId(),
      processors: describeProcessors(),
      ...readMemory(),
      weights,
    };
    return gatherValues(this.communicator, own, { label: "report" });
  }

  async close(): Promise<void> {
    for (const { shard, release } of this.#models.values()) {
      await shard.close();
      release();
    }
    this.#models.clear();
  }

  /** Where the weights that this rank converts are kept; undefined when the script does not want that. */
  #openCache(
    { cache, cacheLimitBytes, directory, computeType = "default" }: ModelSpecification,
    fingerprints: readonly FileFingerprint[],
  ): WeightCache | undefined {
    if (!cache) return undefined;
    const { rank, worldSize } = this.communicator;
    const type = computeType === "default" ? "float32" : computeType;
    return {
      cache: new Cache(readCacheSettings(cacheLimitBytes), native().lockFile),
      fingerprints,
      label: `${basename(directory)}, rank ${rank} of ${worldSize}, ${type}`,
    };
  }

  get #host(): string {
    return this.#world.hosts[this.communicator.rank]!;
  }

  #model(id: number): ShardModel {
    const model = this.#models.get(id);
    if (model === undefined) {
      throw new InternalError(`Rank ${this.communicator.rank} was asked to run model ${id}, which it has not loaded.`);
    }
    return model.shard;
  }
}

function describeProcessors(): string {
  const processors = cpus();
  return `${processors.length} x ${processors[0]?.model.trim() ?? "unknown"}`;
}
