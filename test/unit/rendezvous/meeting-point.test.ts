import { hostname } from "node:os";
import { expect, test } from "@jest/globals";
import { readEnvironment, type Variables } from "../../../src/environment.ts";
import { RendezvousError } from "../../../src/errors.ts";
import { addressFilePath } from "../../../src/rendezvous/address-file.ts";
import { chooseMeetingPoint } from "../../../src/rendezvous/meeting-point.ts";
import { readStartTime } from "../../../src/rendezvous/process-identity.ts";

const SECRET = "0123456789abcdef".repeat(4);

function choose(env: Variables) {
  return chooseMeetingPoint(readEnvironment({ SHARDRUN_HOST: "hosta", ...env }));
}

test("a given coordinator is believed, whatever engine started the ranks", async () => {
  const given = { SHARDRUN_COORDINATOR: "hostb:4000", SHARDRUN_SECRET: SECRET };
  expect(await choose({ ...given, RANK: "1", WORLD_SIZE: "2", MASTER_ADDR: "hostb" })).toEqual({
    kind: "address",
    address: "hostb:4000",
    secret: Uint8Array.from(Buffer.from(SECRET, "hex")),
  });
});

test("ranks of one engine's run meet through a file", async () => {
  const openmpi = { OMPI_COMM_WORLD_RANK: "1", OMPI_COMM_WORLD_SIZE: "2", PMIX_NAMESPACE: "7" };
  expect(await choose(openmpi)).toEqual({ kind: "file", path: addressFilePath("openmpi", "7", 2), secret: undefined });
});

test("ranks without any id meet by their parent", async () => {
  const parent = `parent ${process.ppid} ${readStartTime(process.ppid)}`;
  expect(await choose({ RANK: "1", WORLD_SIZE: "2" })).toEqual({
    kind: "file",
    path: addressFilePath("torchrun", parent, 2),
    secret: undefined,
  });
});

test("a launcher that gives a run id and a secret needs no free port beforehand", async () => {
  const launcher = { SHARDRUN_RANK: "0", SHARDRUN_WORLD_SIZE: "2", SHARDRUN_RUN_ID: "r1", SHARDRUN_SECRET: SECRET };
  expect(await choose(launcher)).toMatchObject({ kind: "file", path: addressFilePath("shardrun", "r1", 2) });
  expect((await choose(launcher)).secret).toHaveLength(32);
});

test.each(["localhost", "127.0.0.1", hostname()])("MASTER_ADDR=%s is this host", async (masterAddress) => {
  const point = await choose({ RANK: "0", WORLD_SIZE: "2", MASTER_ADDR: masterAddress, MASTER_PORT: "1" });
  expect(point.kind).toBe("file");
});

test("MASTER_ADDR of another host is refused", async () => {
  await expect(choose({ RANK: "0", WORLD_SIZE: "2", MASTER_ADDR: "203.0.113.7" })).rejects.toMatchObject({
    name: RendezvousError.name,
    rank: 0,
    host: "hosta",
    message:
      'Rank 0 (hosta) cannot find the other ranks: MASTER_ADDR is "203.0.113.7", which is not an address of this host. ' +
      "Without a shardrun launcher all ranks must be on one host for now: start them on one host.",
  });
});

test("fewer ranks on this host than in the world are refused", async () => {
  const spread = { OMPI_COMM_WORLD_RANK: "3", OMPI_COMM_WORLD_SIZE: "4", OMPI_COMM_WORLD_LOCAL_SIZE: "2" };
  await expect(choose(spread)).rejects.toMatchObject({
    name: RendezvousError.name,
    message:
      'Rank 3 (hosta) cannot find the other ranks: OMPI_COMM_WORLD_SIZE is "4", but only 2 of these ranks are on this host. ' +
      "Without a shardrun launcher all ranks must be on one host for now: start them on one host.",
  });
});
