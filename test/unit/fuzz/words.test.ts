/** Words, lists and lines that people, launchers and remote shells hand in, with mistakes in them: understood, or refused in words. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import fc from "fast-check";
import { readEnvironment } from "../../../src/environment.ts";
import { InternalError } from "../../../src/errors.ts";
import { encodeFrame, FrameReader } from "../../../src/launch/frames.ts";
import { parseHostfile } from "../../../src/launch/hostfile.ts";
import { chooseHosts } from "../../../src/launch/hosts.ts";
import { readPrompts } from "../../../src/programs/prompts.ts";
import { readAddressFile } from "../../../src/rendezvous/address-file.ts";
import { damagedJson, damagedText, fuzzParameters, understandOrRefuse } from "../../support/fuzz.ts";
import { useTemporaryDirectory } from "../../support/temporary-directory.ts";

/** Each case is written to disk, which takes its time. */
const FILE_SHARE = 0.1;
const directory = useTemporaryDirectory();

test("hostfiles", async () => {
  const hostfile =
    '# lab\nhosta slots=2 max_slots=4\nuser@hostb cpu = 2 // two\n/* not\nnow */ ^hostc\n[fe80::1] slots=1\n"d" count=3\n';
  await fc.assert(
    fc.asyncProperty(damagedText(hostfile), async (text) => {
      const hosts = await understandOrRefuse(() => parseHostfile(text, "lab"));
      for (const { name, slots } of hosts ?? []) {
        expect(name).toMatch(/^[A-Za-z0-9_.:%-]+$/);
        if (slots !== undefined) expect(slots).toBeGreaterThan(0);
      }
    }),
    fuzzParameters(),
  );
});

test("a user that ssh would take for an option is refused", () => {
  expect(() => parseHostfile("-F/tmp/evil@hosta\n", "lab")).toThrow(
    'lab:1:1: expected a host name or address, received "-F/tmp/evil@hosta".',
  );
});

test("lists of -H", async () => {
  await fc.assert(
    fc.asyncProperty(damagedText("localhost:2,127.0.0.1,[::1]:3,user@localhost:*"), async (list) => {
      const hosts = await understandOrRefuse(() => chooseHosts({ hostLists: [list] }, 2));
      for (const { slots } of hosts ?? []) if (slots !== undefined) expect(slots).toBeGreaterThan(0);
    }),
    fuzzParameters(),
  );
});

test("environment variables", async () => {
  const right = {
    SHARDRUN_RANK: "1",
    SHARDRUN_WORLD_SIZE: "4",
    SHARDRUN_LOCAL_RANK: "1",
    SHARDRUN_LOCAL_WORLD_SIZE: "2",
    SHARDRUN_COORDINATOR: "127.0.0.1:4000",
    SHARDRUN_SECRET: "ab".repeat(32),
    SHARDRUN_START_TIMEOUT_MS: "1000",
    OMPI_COMM_WORLD_RANK: "1",
    OMPI_COMM_WORLD_SIZE: "4",
    SLURM_PROCID: "1",
    SLURM_NTASKS: "4",
    SLURM_TASKS_PER_NODE: "2(x2)",
    OMP_NUM_THREADS: "2,1",
  };
  const variables = fc.record(
    Object.fromEntries(Object.entries(right).map(([name, value]) => [name, damagedText(value)])),
    { requiredKeys: [] },
  );
  await fc.assert(
    fc.asyncProperty(variables, async (env) => {
      const identity = (await understandOrRefuse(() => readEnvironment(env)))?.identity;
      if (identity === undefined) return;
      expect(identity.rank).toBeLessThan(identity.worldSize);
      expect(identity.localRank).toBeLessThan(identity.localWorldSize);
    }),
    fuzzParameters(),
  );
});

test("frames between launcher and agent, in chunks of any size", () => {
  const frames = Buffer.concat([encodeFrame("job", 0, { host: "a" }), encodeFrame("stdout", 1, Buffer.alloc(300))]);
  const edit = fc.record({ at: fc.nat(frames.length - 1), byte: fc.nat(255) });
  fc.assert(
    fc.property(fc.array(edit, { maxLength: 4 }), fc.integer({ min: 1, max: 400 }), (edits, chunkBytes) => {
      const bytes = Buffer.from(frames);
      for (const { at, byte } of edits) bytes[at] = byte;
      const reader = new FrameReader();
      let numBytes = 0;
      try {
        for (let start = 0; start < bytes.length; start += chunkBytes) {
          for (const { payload } of reader.read(bytes.subarray(start, start + chunkBytes))) numBytes += payload.length;
        }
      } catch (error) {
        expect(error).toBeInstanceOf(InternalError);
      }
      expect(numBytes).toBeLessThanOrEqual(bytes.length);
    }),
    fuzzParameters(),
  );
});

test("files of prompts", async () => {
  const input = join(directory, "prompts.jsonl");
  const lines = [{ prompt: "Once" }, { promptIds: [1, 2, 3] }];
  const text = fc.tuple(...lines.map((line) => fc.oneof(damagedJson(line), damagedText(JSON.stringify(line)))));
  await fc.assert(
    fc.asyncProperty(text, async (damaged) => {
      writeFileSync(input, damaged.join("\n"));
      const prompts = await understandOrRefuse(() => readPrompts({ input }));
      for (const prompt of prompts ?? []) {
        if ("text" in prompt) expect(typeof prompt.text).toBe("string");
        else expect(prompt.ids.every((id) => Number.isSafeInteger(id))).toBe(true);
      }
    }),
    fuzzParameters(FILE_SHARE),
  );
});

test("address files", async () => {
  const path = join(directory, "address");
  const right = { address: "127.0.0.1:4000", secret: "ab".repeat(32) };
  await fc.assert(
    fc.asyncProperty(fc.oneof(damagedJson(right), damagedText(JSON.stringify(right))), async (text) => {
      writeFileSync(path, text, { mode: 0o600 });
      const found = await understandOrRefuse(() => readAddressFile(path));
      if (found !== undefined) expect(found.secret).toHaveLength(32);
    }),
    fuzzParameters(FILE_SHARE),
  );
});
