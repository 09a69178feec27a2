/** The cache on a real directory, with real locks: what is kept, what is not believed, what goes first, and what happens on a bad disk. */
import { execFileSync } from "node:child_process";
import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeEach, describe, expect, jest, test } from "@jest/globals";
import { native } from "../../../src/collective/native.ts";
import { ModelError } from "../../../src/errors.ts";
import { measureDirectory } from "../../../src/shards/cache-entry.ts";
import { Cache, type CacheEntry } from "../../../src/shards/cache.ts";
import { listItems, prune } from "../../../src/shards/cache-eviction.ts";
import { useTemporaryDirectory } from "../../support/temporary-directory.ts";

const base = useTemporaryDirectory();
const { lockFile } = native();
let directory: string;
let warnings: string[];
const entries: CacheEntry[] = [];

beforeEach(() => {
  directory = mkdtempSync(join(base, "cache-"));
  warnings = [];
  jest.spyOn(process.stderr, "write").mockImplementation((text) => warnings.push(String(text)) > 0);
});

afterEach(() => {
  jest.restoreAllMocks();
  for (const entry of entries.splice(0)) entry.release();
});

function openCache(limitBytes = 1e9, at = directory): Cache {
  return new Cache({ directory: at, limitBytes }, lockFile);
}

/** Opens or makes an entry of one file; tells whether it had to be made. */
async function want(key: string, { cache = openCache(), bytes = 10_000, keep = false } = {}) {
  let wasMade = false;
  const entry = await cache.openOrMake(
    { kind: "weights", key, label: `the weights ${key}`, expectedBytes: bytes },
    (draft) => {
      wasMade = true;
      writeFileSync(join(draft, "weights.bin"), Buffer.alloc(bytes, key));
    },
  );
  if (entry !== undefined) {
    if (keep) entries.push(entry);
    else entry.release();
  }
  return { wasMade, entry, file: entry && join(entry.directory, "weights.bin") };
}

function setLastUse(key: string, daysAgo: number): void {
  const time = Date.now() / 1000 - daysAgo * 86_400;
  utimesSync(join(directory, `weights-${key}`, "lock"), time, time);
}

describe("keeping", () => {
  test("an entry is made once, privately, and nothing else is left behind", async () => {
    const first = await want("aa");
    expect(first.wasMade).toBe(true);
    expect((await want("aa")).wasMade).toBe(false);
    expect((await want("bb")).wasMade).toBe(true);
    expect(readFileSync(first.file!)).toEqual(Buffer.alloc(10_000, "aa"));
    expect(readdirSync(directory).toSorted()).toEqual(["weights-aa", "weights-bb"]);
    expect(statSync(first.entry!.directory).mode & 0o777).toBe(0o700);
    expect(warnings).toEqual([]);
  });

  test("without a limit above 0 nothing is written, but what is there is used", async () => {
    expect(await want("aa", { cache: openCache(0) })).toEqual({ wasMade: false, entry: undefined, file: undefined });
    await want("aa");
    expect((await want("aa", { cache: openCache(0) })).entry).toBeDefined();
  });

  test("of several that want it at once one makes it, the others use that one's", async () => {
    const results = await Promise.all([1, 2, 3].map(() => want("aa", { cache: openCache(), keep: true })));
    expect(results.filter(({ wasMade }) => wasMade)).toHaveLength(1);
    expect(results.every(({ file }) => file !== undefined && existsSync(file))).toBe(true);
  });

  test("what make throws passes through and leaves nothing", async () => {
    const failure = new ModelError("The model is damaged.");
    const request = { kind: "weights", key: "aa", label: "", expectedBytes: 1 };
    await expect(openCache().openOrMake(request, () => Promise.reject(failure))).rejects.toBe(failure);
    expect(readdirSync(directory)).toEqual([]);
  });

  test("what a killed process left half made is taken over, emptied", async () => {
    const draft = join(directory, "weights-aa.draft");
    mkdirSync(draft);
    writeFileSync(join(draft, "lock"), "");
    writeFileSync(join(draft, "half.bin"), "half");
    const { wasMade, entry } = await want("aa");
    expect(wasMade).toBe(true);
    expect(readdirSync(entry!.directory).toSorted()).toEqual(["lock", "manifest.json", "weights.bin"]);
  });
});

describe("believing", () => {
  const DAMAGES: Record<string, (directory: string) => void> = {
    "a truncated file": (entry) => truncateSync(join(entry, "weights.bin"), 9_999),
    "a longer file": (entry) => appendFileSync(join(entry, "weights.bin"), "x"),
    "one other byte": (entry) =>
      writeFileSync(join(entry, "weights.bin"), Buffer.alloc(10_000, "aa").fill("x", 5000, 5001)),
    "a truncated manifest": (entry) => truncateSync(join(entry, "manifest.json"), 20),
    "a manifest of another entry": (entry) =>
      writeFileSync(
        join(entry, "manifest.json"),
        readFileSync(join(entry, "manifest.json"), "utf8").replace('"aa"', '"ab"'),
      ),
    "a directory into which others may write": (entry) => chmodSync(entry, 0o777),
  };

  test.each(Object.entries(DAMAGES))("%s is made again", async (_, damage) => {
    const { entry } = await want("aa");
    damage(entry!.directory);
    const again = await want("aa");
    expect(again.wasMade).toBe(true);
    expect(readFileSync(again.file!)).toEqual(Buffer.alloc(10_000, "aa"));
    expect((await want("aa")).wasMade).toBe(false);
    expect(readdirSync(directory)).toEqual(["weights-aa"]);
  });

  test("a byte that was changed with the old times put back is found too", async () => {
    const { file } = await want("aa");
    const { atime, mtime } = statSync(file!);
    writeFileSync(file!, Buffer.alloc(10_000, "aa").fill("x", 5000, 5001));
    utimesSync(file!, atime, mtime);
    expect((await want("aa")).wasMade).toBe(true);
  });

  test("a file that was only touched is compared once, and used", async () => {
    const { file, entry } = await want("aa");
    const manifest = join(entry!.directory, "manifest.json");
    const before = readFileSync(manifest, "utf8");
    chmodSync(file!, 0o400);
    expect((await want("aa")).wasMade).toBe(false);
    const after = readFileSync(manifest, "utf8");
    expect(after).not.toBe(before);
    await want("aa");
    expect(readFileSync(manifest, "utf8")).toBe(after);
  });
});

describe("size", () => {
  test("what was used longest ago goes first, never what is in use", async () => {
    for (const key of ["aa", "bb", "cc"]) await want(key, { keep: key === "aa", bytes: 100_000 });
    setLastUse("aa", 3);
    setLastUse("bb", 2);
    setLastUse("cc", 1);
    await want("dd", { cache: openCache(350_000), bytes: 100_000 });
    expect(readdirSync(directory).toSorted()).toEqual(["weights-aa", "weights-cc", "weights-dd"]);
    entries.pop()!.release();
    await want("ee", { cache: openCache(350_000), bytes: 100_000 });
    expect(readdirSync(directory).toSorted()).toEqual(["weights-cc", "weights-dd", "weights-ee"]);
  });

  test("using an entry makes it young", async () => {
    await want("aa");
    setLastUse("aa", 3);
    await want("aa");
    expect(Date.now() - listItems(directory)[0]!.lastUse.getTime()).toBeLessThan(60_000);
  });

  test("what is larger than the limit is not kept, and said once", async () => {
    const cache = openCache(5_000);
    expect((await want("aa", { cache })).entry).toBeUndefined();
    expect((await want("aa", { cache })).entry).toBeUndefined();
    expect(readdirSync(directory)).toEqual([]);
    expect(warnings).toEqual([
      `shardrun: warning: the weights aa (10.0 KB) is not kept in the cache ${directory}, whose limit is 5.00 KB, so it is made again at ` +
        "every start. Raise the limit with --cache-limit or SHARDRUN_CACHE_LIMIT.\n",
    ]);
  });

  test("prune by age and altogether; what killed processes left goes in any case", async () => {
    await want("aa");
    await want("bb");
    setLastUse("aa", 10);
    for (const left of ["weights-cc.draft", "weights-dd.01ab.removed"]) mkdirSync(join(directory, left));
    writeFileSync(join(directory, "weights-cc.draft", "lock"), "");
    writeFileSync(join(directory, "a-file-of-the-user"), "");
    const old = prune(directory, { usedSince: new Date(Date.now() - 5 * 86_400_000) }, lockFile);
    expect(old.map(({ name }) => name).toSorted()).toEqual([
      "weights-aa",
      "weights-cc.draft",
      "weights-dd.01ab.removed",
    ]);
    prune(directory, { maxBytes: 0 }, lockFile);
    expect(readdirSync(directory)).toEqual(["a-file-of-the-user"]);
  });
});

describe("a bad disk", () => {
  const mounts: string[] = [];
  afterAll(() => mounts.forEach((mount) => execFileSync("umount", [mount])));

  /** A small file system of its own; undefined where this user may not mount one. */
  function mountSmallDisk(): string | undefined {
    const mount = mkdtempSync(join(base, "disk-"));
    try {
      execFileSync("mount", ["-t", "tmpfs", "-o", "size=64k", "tmpfs", mount], { stdio: "ignore" });
    } catch {
      return undefined;
    }
    mounts.push(mount);
    return mount;
  }

  const small = mountSmallDisk();
  const onSmallDisk = small === undefined ? test.skip : test;
  const title = (text: string): string => (small === undefined ? `${text} (skipped: needs the right to mount)` : text);

  onSmallDisk(title("too small: said once, nothing is left"), async () => {
    const cache = openCache(1e9, small);
    expect((await want("aa", { cache, bytes: 200_000 })).entry).toBeUndefined();
    expect(readdirSync(small!)).toEqual([]);
    expect(warnings).toEqual([
      `shardrun: warning: the weights aa (200 KB) is not kept in the cache ${small}, where 65.5 KB are free, so it is made again at every ` +
        "start. Make room there, or let SHARDRUN_CACHE name another directory.\n",
    ]);
  });

  onSmallDisk(title("full while writing: said, nothing is left, and older entries have made room before"), async () => {
    const cache = openCache(1e9, small);
    await want("aa", { cache, bytes: 40_000 });
    await want("bb", { cache, bytes: 40_000 });
    expect(readdirSync(small!)).toEqual(["weights-bb"]);
    const request = { kind: "weights", key: "cc", label: "", expectedBytes: 1 };
    const entry = await cache.openOrMake(request, (draft) => writeFileSync(join(draft, "x"), Buffer.alloc(100_000)));
    expect(entry).toBeUndefined();
    expect(readdirSync(small!)).toEqual(["weights-bb"]);
    expect(warnings).toEqual([
      `shardrun: warning: the cache ${small} cannot be used: ENOSPC: no space left on device, write. Going on without it, so that what it ` +
        "would keep is made again at every start. Make room there, or let SHARDRUN_CACHE name another directory.\n",
    ]);
  });

  onSmallDisk(title("read-only: what is there is used, what is not is done without"), async () => {
    const disk = mountSmallDisk()!;
    const cache = openCache(1e9, disk);
    await want("aa", { cache });
    execFileSync("mount", ["-o", "remount,ro", disk], { stdio: "ignore" });
    expect((await want("aa", { cache })).entry).toBeDefined();
    expect(warnings).toEqual([]);
    expect((await want("bb", { cache })).entry).toBeUndefined();
    expect(warnings).toEqual([
      `shardrun: warning: the cache ${disk} cannot be used: EROFS: read-only file system, mkdir '${join(disk, "weights-bb.draft")}'. ` +
        "Going on without it, so that what it would keep is made again at every start. Make room there, or let SHARDRUN_CACHE name " +
        "another directory.\n",
    ]);
  });

  test("no directory at all: said once", async () => {
    const file = join(directory, "file");
    writeFileSync(file, "");
    expect((await want("aa", { cache: openCache(1e9, file) })).entry).toBeUndefined();
    expect(warnings).toEqual([
      `shardrun: warning: the cache ${file} cannot be used: EEXIST: file already exists, mkdir '${file}'. Going on without it, so that ` +
        "what it would keep is made again at every start. Make room there, or let SHARDRUN_CACHE name another directory.\n",
    ]);
  });
});

test("a draft that another process has just made an entry of, or removed, takes no room", () => {
  expect(measureDirectory(join(directory, "gone"))).toBe(0);
});
