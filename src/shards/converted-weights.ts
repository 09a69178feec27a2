/**
 * The weights that a rank has to convert or rearrange, as one file of the cache: made once, mapped read-only from then on.
 * One rank's weights go in, their bytes in a mapping come out. A weight at a time is in memory while the file is made.
 */
import { createHash } from "node:crypto";
import { closeSync, openSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import { PACKED_FORMAT } from "../collective/native.ts";
import type { FileFingerprint } from "../model/fingerprint.ts";
import type { Weight, WeightSource } from "../model/graph.ts";
import { countWeightBytes } from "../model/packed-layout.ts";
import type { Cache, CacheEntry } from "./cache.ts";
import { writeHugePages, type FilePart } from "./huge-pages.ts";
import { makeWeight } from "./make-weight.ts";
import type { MapFile } from "./weight.ts";

/** Of the bytes that conversions give and of how they lie in the file; another number makes every entry again. */
const FORMAT = 1;
const FILE = "weights.bin";
/** A cache line, and the widest vector. */
const ALIGNMENT = 64;

/** Where a rank's converted weights are kept, and what tells them from other models'. */
export interface WeightCache {
  readonly cache: Cache;
  /** Of the files from which the model comes. */
  readonly fingerprints: readonly FileFingerprint[];
  /** For people: which model, which rank of how many. */
  readonly label: string;
}

export interface ConvertedWeights {
  /** By name. */
  readonly data: ReadonlyMap<string, Uint8Array>;
  /** Holds the mapped file; to be released when the weights are no longer used. */
  readonly entry: CacheEntry;
  /** Whether they were converted now, and not by an earlier start. */
  readonly isNew: boolean;
}

/** Converts weights into the cache, unless they are there already; undefined where it cannot hold them. */
export async function keepConverted(
  weights: readonly Weight[],
  { cache, fingerprints, label }: WeightCache,
  mapFile: MapFile,
): Promise<ConvertedWeights | undefined> {
  const offsets: number[] = [];
  let end = 0;
  for (const weight of weights) {
    const offset = Math.ceil(end / ALIGNMENT) * ALIGNMENT;
    offsets.push(offset);
    end = offset + countWeightBytes(weight);
  }
  function* makeParts(): Generator<FilePart> {
    for (const [index, weight] of weights.entries()) {
      yield { offset: offsets[index]!, data: makeWeight(weight, mapFile) };
    }
  }
  let isNew = false;
  const request = { kind: "weights", key: makeKey(weights, fingerprints), label, expectedBytes: end };
  const entry = await cache.openOrMake(request, (draft) => {
    isNew = true;
    const file = openSync(join(draft, FILE), "wx", 0o600);
    try {
      writeHugePages(file, makeParts());
    } finally {
      closeSync(file);
    }
  });
  if (entry === undefined) return undefined;
  const bytes = mapFile(join(entry.directory, FILE), 0, end, { isReadWhole: true });
  const data = new Map(
    weights.map((weight, index) => {
      const offset = offsets[index]!;
      return [weight.name, bytes.subarray(offset, offset + countWeightBytes(weight))];
    }),
  );
  return { data, entry, isNew };
}

/**
 * Different for everything that would give other bytes: the model's content, what is asked of each of its weights, and the times at
 * which its files were last written, since a fingerprint does not see every byte.
 */
function makeKey(weights: readonly Weight[], fingerprints: readonly FileFingerprint[]): string {
  const files = new Set<string>();
  const describeSource = (source: WeightSource): unknown => {
    switch (source.kind) {
      case "file":
      case "blocks":
        files.add(source.file);
        return { ...source, file: basename(source.file) };
      case "inline":
        return { ...source, bytes: createHash("sha256").update(source.bytes).digest("hex") };
      case "concat":
        return { ...source, parts: source.parts.map(describeSource) };
      case "take":
        return { ...source, of: describeSource(source.of) };
    }
  };
  const wanted = weights.map((weight) => ({ ...weight, source: describeSource(weight.source) }));
  const written = [...files].map((file) => [basename(file), String(statSync(file, { bigint: true }).mtimeNs)]);
  const description = JSON.stringify({ format: [FORMAT, PACKED_FORMAT], fingerprints, written, wanted });
  return createHash("sha256").update(description).digest("hex").slice(0, 32);
}
