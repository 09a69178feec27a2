import { expect, test } from "@jest/globals";
import { readEnvironment } from "../../../src/environment.ts";
import { deviceVariables, rankVariables, resolveExports, runVariables } from "../../../src/launch/rank-environment.ts";
import { createRun } from "../../../src/launch/run-identity.ts";

const COORDINATOR = { host: "127.0.0.1", port: 40000 };
const PLACE = { rank: 3, host: "hosta", localRank: 1, localWorldSize: 2 };

test("what a rank is given is what it reads", () => {
  const run = createRun({ coordinator: COORDINATOR, worldSize: 4, numSlots: 5, startTimeoutMs: 7000 });
  const environment = readEnvironment({ ...runVariables(run), ...rankVariables(PLACE) });
  expect(environment).toMatchObject({
    identity: { ...PLACE, worldSize: 4, engine: "shardrun" },
    coordinator: "127.0.0.1:40000",
    runId: run.runId,
    startTimeoutMs: 7000,
    masterAddress: "127.0.0.1",
  });
  expect(environment.secret).toHaveLength(32);
});

test("programs written for Open MPI or torchrun find the same rank", () => {
  const run = createRun({ coordinator: COORDINATOR, worldSize: 4, numSlots: 5 });
  const variables = { ...runVariables(run), ...rankVariables(PLACE) };
  const others = Object.entries(variables).filter(([name]) => !name.startsWith("SHARDRUN_"));
  expect(Object.fromEntries(others)).toEqual({
    OMPI_COMM_WORLD_RANK: "3",
    OMPI_COMM_WORLD_SIZE: "4",
    OMPI_COMM_WORLD_LOCAL_RANK: "1",
    OMPI_COMM_WORLD_LOCAL_SIZE: "2",
    OMPI_COMM_WORLD_NODE_RANK: "1",
    OMPI_UNIVERSE_SIZE: "5",
    RANK: "3",
    WORLD_SIZE: "4",
    LOCAL_RANK: "1",
    LOCAL_WORLD_SIZE: "2",
    MASTER_ADDR: "127.0.0.1",
    MASTER_PORT: "40000",
  });
});

test("an IPv6 address of the coordinator is told from its port", () => {
  const run = createRun({ coordinator: { host: "fd00::1", port: 40000 }, worldSize: 4, numSlots: 5 });
  expect(runVariables(run)).toMatchObject({ SHARDRUN_COORDINATOR: "[fd00::1]:40000", MASTER_ADDR: "fd00::1" });
});

test("certificates are handed on as --tls-* names them", () => {
  const tls = { certificateFile: "/c.pem", keyFile: "/k.pem", authorityFile: "/ca.pem" };
  const run = createRun({ coordinator: COORDINATOR, worldSize: 4, numSlots: 5, tls });
  expect(readEnvironment({ ...runVariables(run), ...rankVariables(PLACE) })).toMatchObject({ tls });
});

test("each rank sees its share of its host's devices, or what it would see anyway", () => {
  const visible = (devices: number[], localWorldSize: number) =>
    Array.from({ length: localWorldSize }, (_, localRank) => {
      const variables = deviceVariables(devices, { ...PLACE, localRank, localWorldSize });
      expect(variables.HIP_VISIBLE_DEVICES).toBe(variables.CUDA_VISIBLE_DEVICES);
      return variables.CUDA_VISIBLE_DEVICES;
    });
  expect(visible([2, 5], 1)).toEqual(["2,5"]);
  expect(visible([2, 5], 2)).toEqual(["2", "5"]);
  expect(visible([2, 5], 4)).toEqual(["2", "2", "5", "5"]);
  expect(deviceVariables(undefined, PLACE)).toEqual({});
});

test("weights travel with the run", () => {
  const run = createRun({ coordinator: COORDINATOR, worldSize: 4, numSlots: 5, rankWeights: [1, 1, 0.25, 2] });
  const environment = readEnvironment({ ...runVariables(run), ...rankVariables(PLACE) });
  expect(environment.rankWeights).toEqual([1, 1, 0.25, 2]);
});

test("no two runs share id or secret", () => {
  const [one, other] = [1, 2].map(() => createRun({ coordinator: COORDINATOR, worldSize: 1, numSlots: 1 }));
  expect(one!.runId).not.toBe(other!.runId);
  expect(one!.secret).not.toBe(other!.secret);
});

test("-x takes names, values and patterns, and warns of what is not set", () => {
  const environment = { HOME: "/home/a", FOO_1: "1", FOO_2: "", BAR: "bar", GONE: undefined };
  expect(resolveExports(["HOME", "NEW=a=b", "EMPTY=", "FOO*", "GONE", "NO*", "BAR"], environment)).toEqual({
    variables: { HOME: "/home/a", NEW: "a=b", EMPTY: "", FOO_1: "1", FOO_2: "", BAR: "bar" },
    warnings: [
      'could not find an environment variable "GONE" to hand on (-x GONE); the ranks start without it.',
      'could not find an environment variable "NO*" to hand on (-x NO*); the ranks start without it.',
    ],
  });
});
