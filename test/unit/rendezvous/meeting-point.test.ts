import { hostname, networkInterfaces } from "node:os";
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

const ADVICE =
  "SHARDRUN_SECRET to the same 64 hexadecimal digits (openssl rand -hex 32) for every rank; " +
  "mpirun hands variables on with -x NAME, srun by itself.";

test("MASTER_ADDR of another host needs the run's secret", async () => {
  const byHand = { RANK: "0", WORLD_SIZE: "2", MASTER_ADDR: "203.0.113.7", MASTER_PORT: "29500" };
  await expect(choose(byHand)).rejects.toMatchObject({
    name: RendezvousError.name,
    rank: 0,
    host: "hosta",
    message:
      "Rank 0 (hosta) cannot join ranks on other hosts without the run's secret: " +
      `MASTER_ADDR is "203.0.113.7", which is not an address of this host. Set ${ADVICE}`,
  });
  expect(await choose({ ...byHand, SHARDRUN_SECRET: SECRET })).toMatchObject({
    kind: "address",
    address: "203.0.113.7:29500",
  });
});

test("ranks on several hosts meet at MASTER_ADDR, behind any engine", async () => {
  const spread = {
    OMPI_COMM_WORLD_RANK: "3",
    OMPI_COMM_WORLD_SIZE: "4",
    OMPI_COMM_WORLD_LOCAL_SIZE: "2",
    SHARDRUN_SECRET: SECRET,
  };
  expect(await choose({ ...spread, MASTER_ADDR: "2001:db8::7", MASTER_PORT: "29500" })).toMatchObject({
    kind: "address",
    address: "[2001:db8::7]:29500",
  });
});

test("MASTER_ADDR of this host, which others can reach, with a secret: others are to come", async () => {
  const own = Object.values(networkInterfaces())
    .flatMap((list) => list ?? [])
    .find(({ internal, family }) => !internal && family === "IPv4");
  if (own === undefined) return; // a machine without any network
  const byHand = { RANK: "0", WORLD_SIZE: "2", MASTER_ADDR: own.address, MASTER_PORT: "29500" };
  expect((await choose(byHand)).kind).toBe("file");
  expect((await choose({ ...byHand, SHARDRUN_SECRET: SECRET })).kind).toBe("address");
  const allHere = { LOCAL_RANK: "0", LOCAL_WORLD_SIZE: "2" };
  expect((await choose({ ...byHand, ...allHere, SHARDRUN_SECRET: SECRET })).kind).toBe("file");
});

test("fewer ranks on this host than in the world need to know where rank 0 is", async () => {
  const spread = { OMPI_COMM_WORLD_RANK: "3", OMPI_COMM_WORLD_SIZE: "4", OMPI_COMM_WORLD_LOCAL_SIZE: "2" };
  await expect(choose(spread)).rejects.toMatchObject({
    name: RendezvousError.name,
    message:
      'Rank 3 (hosta) cannot find the other ranks: OMPI_COMM_WORLD_SIZE is "4", but only 2 of these ranks are on this host, ' +
      "and nothing says where rank 0 is. Set SHARDRUN_COORDINATOR to an address of rank 0's host and a free port there " +
      `(host:port) and ${ADVICE}`,
  });
});
