/**
 * What one rank does for its host when that has no copy of the model: it completes the host's mirror by what the host's ranks will
 * read. In: rank 0's offer. Out: a model read from the mirror, which stays where it is until it is released.
 */
import { join } from "node:path";
import { native, type Communicator } from "../collective/native.ts";
import { loadModel, type Model } from "../model/model.ts";
import { shardGraph } from "../partition/shard-graph.ts";
import { readCacheSettings } from "../shards/cache-settings.ts";
import { Fetch, fetchNothing } from "../shards/fetch-files.ts";
import { holdMirror } from "../shards/mirror-store.ts";
import type { Offer } from "../shards/offer.ts";
import { rangesOfGraphs } from "../shards/source-ranges.ts";
import { planShards } from "./shard-model.ts";
import type { ModelSpecification } from "./step.ts";

export interface FetchedModel {
  readonly model: Model;
  /** Lets the mirror be removed; what is mapped by then stays readable. */
  release(): void;
}

/**
 * Fetches from rank 0, which serves meanwhile.
 * @param readers the ranks that will read the mirror
 * @throws {ModelError} when the mirror cannot be completed
 */
export async function fetchMirror(
  communicator: Communicator,
  offer: Offer,
  readers: readonly number[],
  specification: ModelSpecification,
): Promise<FetchedModel> {
  const label = `part of ${specification.directory} on rank 0's host`;
  const held = await holdMirror(offer, label, {
    settings: readCacheSettings(specification.cacheLimitBytes),
    lockFile: native().lockFile,
    whileWaiting: () => fetchNothing(communicator, offer),
  });
  const { mirror } = held;
  try {
    const fetch = new Fetch(communicator, held);
    await fetch.complete(offer.files.map(({ headBytes }) => [{ begin: 0, end: headBytes }]));
    const model = await loadModel(join(mirror.directory, offer.path), specification);
    const plan = planShards(model, specification, communicator.worldSize);
    const ranges = rangesOfGraphs(readers.map((rank) => shardGraph(model.graph, plan, rank)));
    await fetch.complete(offer.files.map(({ name }) => ranges.get(join(mirror.directory, name)) ?? []));
    mirror.seal();
    held.endWriting();
    return { model, release: () => held.release() };
  } catch (error) {
    held.release();
    throw error;
  }
}
