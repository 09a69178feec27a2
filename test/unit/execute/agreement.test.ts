/** Ranks that load from different disks find out, before anything runs, that these hold different models. */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import type { Communicator } from "../../../src/collective/native.ts";
import { ModelError } from "../../../src/errors.ts";
import { findDisagreement } from "../../../src/execute/agreement.ts";
import { Rank } from "../../../src/execute/rank.ts";
import { fingerprintFiles } from "../../../src/model/fingerprint.ts";
import { connectWorld, openRuntime } from "../../support/tiny-graph.ts";
import { TINY_LLAMA, writeTemporaryCheckpoint } from "../../support/write-checkpoint.ts";

let communicators: Communicator[];
beforeAll(async () => {
  openRuntime();
  communicators = await connectWorld(2);
});
afterAll(async () => {
  for (const communicator of communicators) await communicator.close();
});

/** What loading came to on each of two ranks. */
async function loadFrom(directories: readonly string[]): Promise<(Error | undefined)[]> {
  const ranks = communicators.map((communicator, i) => new Rank(communicator, `host${i}`));
  const outcomes = await Promise.all(
    ranks.map((rank, i) =>
      rank.load(0, {
        directory: directories[i]!,
        maxContext: 16,
        numRows: 1,
        intraThreads: 1,
        verify: false,
        profile: false,
        cache: false,
        cacheLimitBytes: undefined,
      }),
    ),
  );
  for (const rank of ranks) await rank.close();
  return outcomes;
}

function modelError(message: string) {
  return expect.objectContaining({ name: ModelError.name, rank: 1, host: "host1", message });
}

test("two copies of one model", async () => {
  const copies = [1, 2].map(() => writeTemporaryCheckpoint({ config: TINY_LLAMA, seed: 7 }));
  expect(await loadFrom(copies)).toEqual([undefined, undefined]);
});

test("the same shape with other weights is another model, as both ranks are told", async () => {
  const [ours, theirs] = [1, 2].map((seed) => writeTemporaryCheckpoint({ config: TINY_LLAMA, seed })) as [
    string,
    string,
  ];
  const [expected, found] = await fingerprintFiles([ours, theirs].map((path) => join(path, "model.safetensors")));
  const error = modelError(
    `The ranks loaded different models: model.safetensors has fingerprint ${found!.digest} instead of ${expected!.digest} ` +
      `on rank 1 (host1, "${theirs}"), compared with rank 0 (host0, "${ours}"). Copy the same model to every host.`,
  );
  expect(found!.digest).not.toBe(expected!.digest);
  expect(await loadFrom([ours, theirs])).toEqual([error, error]);
});

test("a rank that cannot load says why, and where", async () => {
  const [ours, theirs] = [1, 2].map(() => writeTemporaryCheckpoint({ config: TINY_LLAMA })) as [string, string];
  rmSync(join(theirs, "model.safetensors"));
  const [seenByRoot, own] = await loadFrom([ours, theirs]);
  expect(own).toBeInstanceOf(ModelError);
  expect(seenByRoot).toEqual(modelError(`Loading failed on rank 1 (host1): ${own!.message}`));
});

test("files that only one of them has", () => {
  const on = (host: string, ...names: string[]) => ({
    host,
    directory: "/m",
    files: names.map((name) => ({ name, digest: "0" })),
  });
  const describe = (difference: string) =>
    `The ranks loaded different models: ${difference} on rank 1 (host1, "/m"), compared with rank 0 (host0, "/m"). ` +
    "Copy the same model to every host.";
  const [one, two] = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"] as const;
  expect(findDisagreement([on("host0", one, two), on("host1", one)])?.message).toBe(describe(`${two} is missing`));
  expect(findDisagreement([on("host0", one), on("host1", one, two)])?.message).toBe(describe(`${two} is extra`));
  expect(findDisagreement([on("host0", one), on("host1", one)])).toBeUndefined();
});
