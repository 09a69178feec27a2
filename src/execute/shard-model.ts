/**
 * One rank's shard of one model, ready to run: plan, rewritten graph, weights, session and key/value cache.
 * In: a specification, then steps. Out: the logits that the leader asked for, made whole over the ranks.
 * Every rank of the group creates it and calls execute() with the same steps in the same order.
 */
import { createHash } from "node:crypto";
import type { Communicator, Feed, FetchedValue, KeyValueCache, Session } from "../collective/native.ts";
import { native } from "../collective/native.ts";
import { ExecutionError, InternalError } from "../errors.ts";
import type { Graph } from "../model/graph.ts";
import type { Model } from "../model/model.ts";
import { encodeModel } from "../model/onnx-format.ts";
import { useOwnOps } from "../model/own-ops/own-ops.ts";
import { packFloatProducts } from "../model/packed-products.ts";
import { partition } from "../partition/partition.ts";
import { shardGraph } from "../partition/shard-graph.ts";
import type { Plan } from "../partition/plan.ts";
import type { WeightCache } from "../shards/converted-weights.ts";
import { materialiseGraph, type MaterialisedGraph, type WeightFootprint } from "../shards/materialise.ts";
import { measureClockOffsetUs, readClockUs } from "./clock.ts";
import { gatherLogits, searchBestTokens, type LogitsLayout } from "./logits.ts";
import { Profiler, type RankProfile } from "./profile.ts";
import type { ModelSpecification, RowMove, Step } from "./step.ts";

/** A step's outcome on one rank. */
export interface StepResult {
  /** [B * M] best token ids, when the step wanted "argmax". */
  readonly tokenIds: Int32Array | undefined;
  /** [B * M, V], when the step wanted "logits". */
  readonly logits: Float32Array | undefined;
  /** Time inside onnxruntime, without the collectives of the graph. */
  readonly computeNanoseconds: number;
  /** Time inside collectives: those of the graph, and those that make the logits whole. */
  readonly collectiveNanoseconds: number;
}

/** How the model is cut; the same on every rank. */
export function planShards(model: Model, { rankWeights }: ModelSpecification, worldSize: number): Plan {
  return partition(model.graph, { worldSize, rankWeights });
}

export class ShardModel {
  readonly #communicator: Communicator;
  readonly #session: Session;
  readonly #cache: KeyValueCache | undefined;
  readonly #layout: LogitsLayout;
  readonly #verify: boolean;
  readonly #needsPositionIds: boolean;
  readonly #outputNames: ReadonlySet<string>;
  readonly #weights: MaterialisedGraph;
  readonly #profiler: Profiler | undefined;

  private constructor(parts: {
    communicator: Communicator;
    session: Session;
    cache: KeyValueCache | undefined;
    layout: LogitsLayout;
    verify: boolean;
    graph: Graph;
    weights: MaterialisedGraph;
    profiler: Profiler | undefined;
  }) {
    this.#communicator = parts.communicator;
    this.#session = parts.session;
    this.#cache = parts.cache;
    this.#layout = parts.layout;
    this.#verify = parts.verify;
    this.#needsPositionIds = parts.graph.inputs.some((input) => input.name === "position_ids");
    this.#outputNames = new Set(parts.graph.outputs.map((output) => output.name));
    this.#weights = parts.weights;
    this.#profiler = parts.profiler;
  }

  get footprint(): WeightFootprint {
    return this.#weights.footprint;
  }

  /**
   * Cuts the model for this communicator's world, reads this rank's weights and creates its session.
   * @param cache where converted weights are kept; undefined: nowhere
   * @throws {ModelError} when files are damaged; {PartitionError} when the graph cannot be cut.
   */
  static async create(
    model: Model,
    specification: ModelSpecification,
    communicator: Communicator,
    cache: WeightCache | undefined,
  ): Promise<ShardModel> {
    const { rank, worldSize } = communicator;
    const plan = planShards(model, specification, worldSize);
    const addon = native();
    const shard = useOwnOps(shardGraph(model.graph, plan, rank));
    // Plain C++ is slower than onnxruntime.
    const graph = addon.supportedKernels().length > 1 ? packFloatProducts(shard) : shard;
    const materialised = await materialiseGraph(graph, addon.mapFile, cache);
    const profiler = specification.profile ? new Profiler() : undefined;
    const session = await addon.createSession({
      model: encodeModel(graph),
      weights: materialised.weights,
      intraThreads: specification.intraThreads,
      communicator,
      profilePrefix: profiler?.prefix,
    });
    return new ShardModel({
      communicator,
      session,
      cache: createCache(graph, specification),
      layout: readLogitsLayout(plan, model.config.vocabSize),
      verify: specification.verify,
      graph,
      weights: materialised,
      profiler,
    });
  }

  /**
   * Runs one step on this rank.
   * @throws {CollectiveError} when a peer is lost; {ExecutionError} when onnxruntime fails or ranks diverge.
   */
  async execute(step: Step): Promise<StepResult> {
    const begunUs = readClockUs();
    const fetch = [
      ...(step.want === "logits" && this.#outputNames.has("logits") ? ["logits"] : []),
      ...(this.#verify ? ["hidden_states"] : []),
    ];
    const cache = this.#cache && { cache: this.#cache, firstRow: step.firstRow, numRows: step.inputIds.length };
    const numPositions = step.inputIds.length * step.positions.length;
    const wantsTokens = step.want === "argmax";
    const tokenSearch = wantsTokens ? searchBestTokens(this.#layout, this.#communicator.rank, numPositions) : undefined;
    const run = await this.#session.run({ feeds: this.#makeFeeds(step), fetch, cache, tokenSearch });
    const output = new Map(run.outputs.map((value) => [value.name, value]));
    const started = process.hrtime.bigint();
    if (this.#verify) {
      await this.#verifyHiddenStates(output.get("hidden_states")!);
    }
    const logits =
      step.want === "logits"
        ? await gatherLogits(this.#communicator, this.#layout, output.get("logits"), numPositions)
        : undefined;
    const gatherNanoseconds = Number(process.hrtime.bigint() - started);
    this.#profiler?.noteStep(step.inputIds[0]!.length, begunUs);
    return {
      tokenIds: wantsTokens ? run.bestTokens : undefined,
      logits,
      computeNanoseconds: run.nanoseconds - run.collectiveNanoseconds,
      collectiveNanoseconds: run.collectiveNanoseconds + (this.#communicator.worldSize > 1 ? gatherNanoseconds : 0),
    };
  }

  /** Where the time of the steps went so far; of a model that was loaded to be profiled, once. */
  async finishProfile(host: string): Promise<RankProfile> {
    if (this.#profiler === undefined) throw new InternalError("A profile was asked for of a model that has none.");
    const offsetUs = await measureClockOffsetUs(this.#communicator, host);
    return this.#profiler.finish(this.#session, this.#communicator.rank, host, offsetUs);
  }

  moveRow(move: RowMove): void {
    this.#cache?.copyRow(move.from, move.to, move.numTokens);
  }

  async close(): Promise<void> {
    await this.#session.close();
    this.#cache?.close();
    this.#weights.release();
    this.#profiler?.close();
  }

  #makeFeeds(step: Step): Feed[] {
    const numRows = step.inputIds.length; // B
    const numTokens = step.inputIds[0]!.length; // S
    const totals = step.pastLengths.map((past) => past + numTokens);
    const feeds: Feed[] = [
      int64Feed("input_ids", [numRows, numTokens], step.inputIds.flat()),
      int32Feed(
        "seqlens_k",
        [numRows],
        totals.map((total) => total - 1),
      ),
      int32Feed("total_sequence_length", [], [Math.max(...totals)]),
      int64Feed("logits_positions", [step.positions.length], step.positions),
    ];
    if (this.#needsPositionIds) {
      const positionIds = step.pastLengths.flatMap((past) => Array.from({ length: numTokens }, (_, i) => past + i));
      feeds.push(int64Feed("position_ids", [numRows, numTokens], positionIds));
    }
    return feeds;
  }

  /** Hidden states are Replicate: every rank must hold the same bits. */
  async #verifyHiddenStates(hidden: FetchedValue): Promise<void> {
    const { rank, worldSize } = this.#communicator;
    const digest = createHash("sha256").update(hidden.data).digest();
    const digests = new Uint8Array(digest.byteLength * worldSize);
    const bytesPerRank = Array<number>(worldSize).fill(digest.byteLength);
    await this.#communicator.allGather(digest, digests, bytesPerRank, { label: "hidden_states digest" });
    const differing = bytesPerRank
      .map((_, peer) => peer)
      .filter((peer) => {
        const theirs = digests.subarray(peer * digest.byteLength, (peer + 1) * digest.byteLength);
        return !digest.equals(theirs);
      });
    if (differing.length > 0) {
      throw new ExecutionError(
        `Ranks diverged: the hidden states [${hidden.shape.join(", ")}] of this step on rank ${rank} differ from those ` +
          `of rank ${differing.join(", ")}. Check that every host runs the same build of shardrun on the same kind of processor.`,
        { rank },
      );
    }
  }
}

function createCache(graph: Graph, specification: ModelSpecification): KeyValueCache | undefined {
  const tensors = graph.inputs
    .filter((input) => input.name.startsWith("past_key_values."))
    .map((input) => ({
      past: input.name,
      present: input.name.replace("past_key_values.", "present."),
      numHeads: input.shape[1] as number,
      headDim: input.shape[3] as number,
    }));
  if (tensors.length === 0) {
    return undefined;
  }
  return native().createKeyValueCache({
    numRows: specification.numRows,
    maxContext: specification.maxContext,
    tensors,
  });
}

/** Which vocabulary entries each rank's logits hold. */
function readLogitsLayout(plan: Plan, vocabSize: number): LogitsLayout {
  const sharding = plan.values.get("logits");
  if (sharding?.kind !== "Shard") {
    return { vocabSize, firstIds: undefined, sizes: [] };
  }
  const ranges = sharding.runs.map((runs) => runs[0]);
  return {
    vocabSize,
    firstIds: ranges.map((range) => range?.begin ?? 0),
    sizes: ranges.map((range) => (range === undefined ? 0 : range.end - range.begin)),
  };
}

function int64Feed(name: string, shape: number[], values: readonly number[]): Feed {
  const data = new BigInt64Array(values.length);
  values.forEach((value, index) => (data[index] = BigInt(value)));
  return { name, dataType: "int64", shape, data: new Uint8Array(data.buffer) };
}

function int32Feed(name: string, shape: number[], values: readonly number[]): Feed {
  return { name, dataType: "int32", shape, data: new Uint8Array(Int32Array.from(values).buffer) };
}
