/** Hosts without a copy of the model get what their ranks read, once, and answer as one rank does. */
import {
  appendFileSync,
  cpSync,
  openSync,
  closeSync,
  readdirSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import { chooseFetchers } from "../../../src/execute/provide-model.ts";
import { readJournal } from "../../../src/shards/journal.ts";
import { loadWorld, type LoadedWorld, type Place } from "../../support/loaded-world.ts";
import { useTemporaryDirectory } from "../../support/temporary-directory.ts";
import { writeCheckpoint } from "../../support/write-checkpoint.ts";

/** Rows of the row-parallel down_proj are 16 KiB: a rank's third of them lies further from the next than what is taken along. */
const CONFIG = {
  model_type: "llama",
  architectures: ["LlamaForCausalLM"],
  vocab_size: 299,
  hidden_size: 16,
  intermediate_size: 4096,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  num_key_value_heads: 2,
  max_position_embeddings: 64,
  bos_token_id: 1,
  eos_token_id: 2,
  tie_word_embeddings: false,
} as const;

const scratch = useTemporaryDirectory();
const model = join(scratch, "model");
const nowhere = join(scratch, "nowhere");
const cache = join(scratch, "cache");
let oneRank: LoadedWorld;

const saved = process.env["SHARDRUN_CACHE"];
beforeAll(async () => {
  process.env["SHARDRUN_CACHE"] = cache;
  writeCheckpoint(model, { config: CONFIG, numFiles: 3 });
  oneRank = await loadWorld([{ host: "a", directory: model }]);
});
afterAll(() => {
  if (saved === undefined) delete process.env["SHARDRUN_CACHE"];
  else process.env["SHARDRUN_CACHE"] = saved;
});
beforeEach(() => rmSync(cache, { recursive: true, force: true }));

/** Ranks on these hosts; only "a" has the model. */
function ranksOn(hosts: string): Place[] {
  return [...hosts].map((host) => ({ host, directory: host === "a" ? model : nowhere }));
}

async function loadOn(hosts: string): Promise<LoadedWorld> {
  const world = await loadWorld(ranksOn(hosts));
  expect(world.failures).toEqual(world.failures.map(() => undefined));
  expect(world.nextToken).toBe(oneRank.nextToken);
  return world;
}

const sentBytes = ({ transfers }: LoadedWorld): number[] => transfers.map((transfer) => transfer.sentBytes);
const modelBytes = (): number => readdirSync(model).reduce((sum, name) => sum + statSync(join(model, name)).size, 0);
const mirrorFile = (name: string): string => join(cache, readdirSync(cache)[0]!, name);

test("one rank of each host fetches for all of them that have no copy", () => {
  const fetchers = chooseFetchers(["a", "b", "a", "b", "c", "b"], [true, true, false, false, false, false]);
  expect([...fetchers]).toEqual([
    [2, 2],
    [3, 3],
    [4, 4],
    [5, 3],
  ]);
});

test("a host with a copy is sent nothing, and none is mentioned", async () => {
  const copy = join(scratch, "copy");
  cpSync(model, copy, { recursive: true });
  const { failures, transfers, nextToken } = await loadWorld([
    { host: "a", directory: model },
    { host: "b", directory: copy },
  ]);
  expect([failures, transfers, nextToken]).toEqual([[undefined, undefined], [], oneRank.nextToken]);
});

test("a host without a copy is sent what its ranks read; the next time, nothing", async () => {
  const first = await loadOn("abb");
  expect(first.transfers).toEqual([expect.objectContaining({ host: "b", rank: 1 })]);
  expect(sentBytes(first)[0]).toBeGreaterThan(modelBytes() * 0.6);
  expect(sentBytes(first)[0]).toBeLessThan(modelBytes() * 0.75);
  expect(sentBytes(await loadOn("abb"))).toEqual([0]);
});

test("another number of ranks asks for what is missing only", async () => {
  const [half] = sentBytes(await loadOn("ab"));
  const [rest] = sentBytes(await loadOn("abb"));
  const [whole] = (rmSync(cache, { recursive: true }), sentBytes(await loadOn("abb")));
  expect(rest).toBeGreaterThan(0);
  expect(half! + rest!).toBeLessThan(1.25 * whole!);
  expect(sentBytes(await loadOn("ab"))).toEqual([0]);
});

test("several hosts are served in turn, each with its own part", async () => {
  const { transfers } = await loadOn("abc");
  // They share this machine's cache, as hosts with one home directory do: one writes at a time, and what it leaves the next finds.
  expect(transfers.map(({ host }) => host)).toEqual(["b", "c"]);
});

test("a mirror that was damaged is repaired", async () => {
  await loadOn("abb");
  const [chunk] = readJournal(mirrorFile("journal")).chunks.slice(-1);
  const file = openSync(mirrorFile("model-00003-of-00003.safetensors"), "r+");
  writeSync(file, "damage", chunk!.ranges[1]!.begin);
  closeSync(file);
  const [repaired] = sentBytes(await loadOn("abb"));
  expect(repaired).toBe(chunk!.bytes);
  expect(sentBytes(await loadOn("abb"))).toEqual([0]);
});

test("a journal that ends in the middle of a line, without a seal, is believed as far as the files bear it out", async () => {
  await loadOn("abb");
  appendFileSync(mirrorFile("journal"), '{"file":0,"str');
  expect(sentBytes(await loadOn("abb"))).toEqual([0]);
});

test("files that were written to are another model", async () => {
  const [all] = sentBytes(await loadOn("abb"));
  const later = new Date(Date.now() + 5_000);
  utimesSync(join(model, "model-00002-of-00003.safetensors"), later, later);
  expect(sentBytes(await loadOn("abb"))).toEqual([all]);
});

describe("a transfer that fails", () => {
  test("because the files change meanwhile says so on every rank, and the next start sends them anew", async () => {
    const file = join(model, "model-00002-of-00003.safetensors");
    let numReports = 0;
    const touch = (): void => {
      const later = new Date(Date.now() + 10_000);
      if (++numReports === 2) utimesSync(file, later, later);
    };
    const { failures } = await loadWorld(ranksOn("abb"), touch);
    const reason = `"${file}" was changed while the model was being loaded. Load it again when the file is complete.`;
    expect(failures[0]!.message).toBe(reason);
    expect(failures[1]!.message).toBe("Rank 0 cannot read the model any more.");
    expect(failures[2]!.message).toBe("Rank 0 cannot read the model any more.");
    await loadOn("abb");
  });

  test("because the mirror cannot be made says where, on every rank", async () => {
    writeFileSync(cache, "");
    const { failures } = await loadWorld(ranksOn("abb"));
    expect(failures[0]).toMatchObject({ rank: 1, host: "b" });
    const [, mirror = "", reason = ""] =
      /^Loading .* model in (\S+) failed: (.*\.) Mend it/.exec(failures[0]!.message) ?? [];
    expect(failures[0]!.message).toBe(
      `Loading failed on rank 1 (b): Opening the mirror of the model in ${mirror} failed: ${reason} ` +
        "Mend it, or let SHARDRUN_CACHE name another directory.",
    );
  });
});
