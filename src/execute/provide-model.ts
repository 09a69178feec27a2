/**
 * Gives every rank a directory from which it can read its part of the model: its own, when it holds the files that rank 0 has, else
 * a mirror that its host shares, into which one rank of the host fetches what all of them need.
 * All ranks call it together. It ends on each with a model, or with the reason why there is none.
 */
import { broadcastValue, gatherValues, receiveValue, sendValue } from "../collective/messages.ts";
import type { CallOptions, Communicator } from "../collective/native.ts";
import { ROOT_RANK } from "../environment.ts";
import { ModelError } from "../errors.ts";
import { fingerprintFiles, type FileFingerprint } from "../model/fingerprint.ts";
import { loadModel, type Model } from "../model/model.ts";
import { endFetching } from "../shards/fetch-files.ts";
import { checkUnchanged, describeOffer, isOffered, type Offer } from "../shards/offer.ts";
import { OfferedFiles } from "../shards/offered-files.ts";
import { serveFiles, type Transfer } from "../shards/serve-files.ts";
import { fetchMirror, type FetchedModel } from "./fetch-mirror.ts";
import type { ModelSpecification } from "./step.ts";

/** The ranks that load together. */
export interface World {
  readonly communicator: Communicator;
  /** The host of each rank. */
  readonly hosts: readonly string[];
}

/** What a host without a copy of the model was sent. */
export interface HostTransfer extends Transfer {
  readonly host: string;
}

/** Who watches weights go out. */
export interface TransferWatcher {
  /** Called after each chunk, with what each host has been sent. */
  update(transfers: readonly HostTransfer[]): void;
  /** Called when nothing more is sent, or can be. */
  end(): void;
}

export interface ProvidedModel {
  readonly model: Model;
  /** Of rank 0's files, which a mirror holds in part. */
  readonly fingerprints: readonly FileFingerprint[];
  /** On rank 0: one per host that has no copy of its own. Elsewhere empty. */
  readonly transfers: readonly HostTransfer[];
  /** @throws {ModelError} when the files have changed since they were offered: to be called when the weights have been read */
  check(): void;
  /** To be called when the model is no longer used, or could not be loaded everywhere. */
  release(): void;
}

type Announcement = { readonly offer: Offer } | { readonly error: string };
type MirrorNews = { readonly directory: string } | { readonly error: string };

/** Other ranks may be reading headers, or fetching for minutes. */
const PATIENT: CallOptions = { label: "where the model is", timeoutMs: 0 };

/** @param watcher of what rank 0 sends; unused elsewhere */
export async function provideModel(
  world: World,
  specification: ModelSpecification,
  watcher: TransferWatcher,
): Promise<ProvidedModel> {
  const { rank, worldSize } = world.communicator;
  if (worldSize > 1 && rank !== ROOT_RANK) return findModel(world, specification);
  const loading = loadModel(specification.directory, specification);
  if (worldSize > 1) return offerModel(world, loading, watcher);
  const model = await loading;
  return provide(model, await fingerprintFiles(model.files));
}

/** Rank 0: says which model it is, and sends it to where it is not. */
async function offerModel(
  { communicator, hosts }: World,
  loading: Promise<Model>,
  watcher: TransferWatcher,
): Promise<ProvidedModel> {
  const announce = (announcement: Announcement): Promise<Announcement> =>
    broadcastValue(communicator, announcement, ROOT_RANK, PATIENT);
  let model: Model;
  let offer: Offer;
  try {
    model = await loading;
    offer = await describeOffer(model);
  } catch (error) {
    await announce({ error: (error as Error).message });
    throw error;
  }
  await announce({ offer });
  const fetchers = chooseFetchers(hosts, await gatherValues(communicator, true, PATIENT));
  const files = new OfferedFiles(offer, model.files);
  try {
    const withHosts = (transfers: readonly Transfer[]): readonly HostTransfer[] =>
      transfers.map((transfer) => ({ ...transfer, host: hosts[transfer.rank]! }));
    const sent = await serveFiles(communicator, files, [...new Set(fetchers.values())], (transfers) =>
      watcher.update(withHosts(transfers)),
    );
    return provide(model, offer.files, { transfers: withHosts(sent), check: () => checkUnchanged(offer, model.files) });
  } finally {
    watcher.end();
    files.close();
  }
}

/** Every other rank: takes its own copy of what rank 0 offers, or its host's mirror. */
async function findModel({ communicator, hosts }: World, specification: ModelSpecification): Promise<ProvidedModel> {
  const { rank } = communicator;
  const own = await loadModel(specification.directory, specification).catch(() => undefined);
  const announcement = await broadcastValue<Announcement>(communicator, undefined, ROOT_RANK, PATIENT);
  if ("error" in announcement) throw new ModelError(announcement.error, { rank: ROOT_RANK });
  const { offer } = announcement;
  const hasCopy = own !== undefined && isOffered(offer, await fingerprintFiles(own.files).catch(() => []));
  const fetchers = chooseFetchers(hosts, await gatherValues(communicator, hasCopy, PATIENT));
  if (hasCopy) return provide(own, offer.files);

  const fetcher = fetchers.get(rank)!;
  if (fetcher !== rank) {
    const news = await receiveValue<MirrorNews>(communicator, fetcher, PATIENT);
    if ("error" in news) throw new ModelError(news.error, { rank: fetcher });
    return provide(await loadModel(news.directory, specification), offer.files);
  }
  const readers = [...fetchers.keys()].filter((reader) => fetchers.get(reader) === rank);
  let fetched: FetchedModel | Error;
  try {
    fetched = await fetchMirror(communicator, offer, readers, specification);
  } catch (error) {
    fetched = error as Error;
  }
  await endFetching(communicator);
  const news = fetched instanceof Error ? { error: fetched.message } : { directory: fetched.model.directory };
  for (const reader of readers) if (reader !== rank) await sendValue(communicator, news, reader, PATIENT);
  if (fetched instanceof Error) throw fetched;
  return provide(fetched.model, offer.files, { release: () => fetched.release() });
}

function provide(
  model: Model,
  fingerprints: readonly FileFingerprint[],
  parts: Partial<ProvidedModel> = {},
): ProvidedModel {
  return { model, fingerprints, transfers: [], check: () => undefined, release: () => undefined, ...parts };
}

/**
 * Who fetches for whom: for each rank without a copy, the lowest such rank of its host.
 * @param copies which ranks have one
 */
export function chooseFetchers(hosts: readonly string[], copies: readonly boolean[]): ReadonlyMap<number, number> {
  const ranks = hosts.map((_, rank) => rank).filter((rank) => copies[rank] === false);
  return new Map(ranks.map((rank) => [rank, ranks.find((other) => hosts[other] === hosts[rank])!]));
}
