/** Ranks that cannot load say so to all of them, before anything runs. */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import { ModelError } from "../../../src/errors.ts";
import { findFailure } from "../../../src/execute/agreement.ts";
import { loadWorld } from "../../support/loaded-world.ts";
import { TINY_LLAMA, writeTemporaryCheckpoint } from "../../support/write-checkpoint.ts";

function modelError(rank: number, host: string, message: string) {
  return expect.objectContaining({ name: ModelError.name, rank, host, message });
}

test("the first rank that cannot load is the reason", () => {
  const statuses = [{ host: "a" }, { host: "b", error: "No disk." }, { host: "c", error: "No memory." }];
  expect(findFailure(statuses)).toEqual(modelError(1, "b", "Loading failed on rank 1 (b): No disk."));
  expect(findFailure(statuses.slice(0, 1))).toBeUndefined();
});

test("a model that rank 0 cannot load is loaded nowhere", async () => {
  const directory = writeTemporaryCheckpoint({ config: TINY_LLAMA });
  rmSync(join(directory, "model.safetensors"));
  const { failures } = await loadWorld([
    { host: "a", directory },
    { host: "b", directory },
  ]);
  const reason = failures[0]!.message;
  expect(reason).toMatch(/holds no weights/);
  expect(failures[1]).toMatchObject({ name: ModelError.name, message: reason });
});
