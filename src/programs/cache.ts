/** `shardrun cache`: what the cache of this host holds, and how to make room. */
import { native } from "../collective/native.ts";
import { UsageError } from "../errors.ts";
import { isInUse, listItems, prune, type CacheItem } from "../shards/cache-eviction.ts";
import { formatByteSize, parseByteSize, readCacheSettings, type CacheSettings } from "../shards/cache-settings.ts";
import { readText, VALUE, type Program, type ProgramArguments } from "./options.ts";

const UNIT_SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400, w: 604_800 };

/** Only prune understands them. */
const PRUNE_OPTIONS = {
  "older-than": { ...VALUE, describe: "prune: remove what was not used for so long, like 12h, 7d or 4w" },
  to: { ...VALUE, describe: "prune: remove what was used longest ago until no more than SIZE is left, like 10GB" },
  all: { type: "boolean", describe: "prune: remove everything that no run uses" },
} as const;

export const cache: Program = {
  name: "cache",
  describe:
    "Lists what this host's cache holds: converted weights, and bench's checkpoints. `cache prune` makes room; without further options " +
    "it removes what killed processes left, and what is over the limit.",
  words: ["prune"],
  options: { ...PRUNE_OPTIONS, json: { type: "boolean", describe: "Print one JSON object" } },
  examples: [
    ["$0 cache", "what there is"],
    ["$0 cache prune --older-than 30d", "remove what was not used for a month"],
  ],
  runsOnRanks: false,

  run(options) {
    const settings = readCacheSettings();
    const isPrune = (options["_"] as readonly string[]).includes("prune");
    const stray = Object.keys(PRUNE_OPTIONS).find((name) => options[name] !== undefined);
    if (!isPrune && stray !== undefined) {
      throw new UsageError(`--${stray} belongs to shardrun cache prune: write prune before it.`);
    }
    const report = isPrune ? pruneCache(settings, options) : listCache(settings);
    console.log(options["json"] === true ? JSON.stringify(report.data) : report.text);
    return Promise.resolve(0);
  },
};

/** The same for programs and for people. */
interface Report {
  readonly data: Record<string, unknown>;
  readonly text: string;
}

function listCache({ directory, limitBytes }: CacheSettings): Report {
  const items = listItems(directory);
  const bytes = countBytes(items);
  const entries = items.map((item) => ({ ...item, inUse: isInUse(directory, item, native().lockFile) }));
  const rows = entries.map(({ name, state, label, bytes: size, lastUse, inUse }) => [
    formatByteSize(size),
    inUse ? "in use" : describeAge(Date.now() - lastUse.getTime()),
    name,
    state === "entry" ? label : state === "draft" && inUse ? "being made" : "left behind by a process that was killed",
  ]);
  return {
    data: { directory, limitBytes, bytes, entries },
    text:
      `${formatByteSize(bytes)} of at most ${formatByteSize(limitBytes)} in ${directory}` +
      (rows.length === 0 ? "" : `\n\n${alignColumns([["size", "last use", "name", "what"], ...rows])}`),
  };
}

function pruneCache({ directory, limitBytes }: CacheSettings, options: ProgramArguments): Report {
  const to = readText(options, "to");
  const age = readText(options, "older-than");
  const maxBytes = options["all"] === true ? 0 : to !== undefined ? parseByteSize(to, "--to is") : undefined;
  const usedSince = age === undefined ? undefined : new Date(Date.now() - parseDurationMs(age));
  const goal = { maxBytes: maxBytes ?? (usedSince === undefined ? limitBytes : undefined), usedSince };
  const removed = prune(directory, goal, native().lockFile);
  const left = listItems(directory);
  const [freedBytes, bytes] = [countBytes(removed), countBytes(left)];
  return {
    data: { directory, removed, freedBytes, bytes },
    text:
      removed.map(({ name, label, bytes: size }) => `removed ${name}, ${formatByteSize(size)}: ${label}\n`).join("") +
      `${formatByteSize(freedBytes)} removed, ${formatByteSize(bytes)} left in ${directory}` +
      (options["all"] === true && left.length > 0 ? ", in use by runs" : ""),
  };
}

function countBytes(items: readonly CacheItem[]): number {
  return items.reduce((sum, { bytes }) => sum + bytes, 0);
}

function parseDurationMs(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([smhdw])$/.exec(text.trim());
  if (match === null) {
    throw new UsageError(`--older-than is "${text}": expected a duration like 90s, 30m, 12h, 7d or 4w.`);
  }
  return Number(match[1]) * UNIT_SECONDS[match[2]!]! * 1000;
}

/** "3 h ago": the largest unit of which there is at least one. */
function describeAge(ms: number): string {
  const [unit, seconds] = Object.entries(UNIT_SECONDS).findLast(([, length]) => ms >= length * 1000) ?? ["s", 1];
  return `${Math.max(0, Math.floor(ms / 1000 / seconds))} ${unit} ago`;
}

function alignColumns(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column]!))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}
