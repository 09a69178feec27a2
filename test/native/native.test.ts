/**
 * Runs the C++ tests (scripts/test-native.mjs), each variant on its own so that a failure says which, and the measuring programs of
 * scripts/bench-collectives.mjs, which are made of the same objects.
 */
import { describe, expect, test } from "@jest/globals";
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { CLUSTER_START_LIMIT_MS, describeWithCluster } from "../support/cluster.ts";

const programs = readdirSync(import.meta.dirname).filter((name) => name.endsWith("_test.cc"));
const root = fileURLToPath(new URL("../../", import.meta.url));

describe("C++ tests without Node", () => {
  test.each(["plain", "address", "thread"])(
    "%s",
    (variant) => {
      const result = spawnSync(process.execPath, ["scripts/test-native.mjs", variant], { cwd: root, encoding: "utf8" });
      expect(result.stderr).toBe("");
      expect(result.status).toBe(0);
      expect(result.stdout.match(/ 0 failed$/gm)).toHaveLength(programs.length);
    },
    300_000,
  );
});

describe("scripts/bench-collectives.mjs", () => {
  /** The rows of the table that one short round prints, by size, and the lines below it. */
  function measure(...options: string[]): { rows: Map<string, string[]>; below: string[] } {
    const command = ["scripts/bench-collectives.mjs", "--rounds", "1", ...options];
    const { status, stdout, stderr } = spawnSync(process.execPath, command, { cwd: root, encoding: "utf8" });
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    const lines = stdout.trim().split("\n");
    const cells = lines.filter((line) => line.startsWith("| ")).map((line) => line.slice(2, -2).split(" | "));
    return {
      rows: new Map(cells.map(([size = "", ...rest]) => [size, rest])),
      below: lines.slice(lines.lastIndexOf("") + 1),
    };
  }
  const TIME = /^[\d.]+ \([\d.]+\)$/;
  const references = ["half a round trip", "send and recv alone", "the same with a connection per direction"].map(
    (name) => expect.stringMatching(new RegExp(`^tcp, 16 KiB: ${name} [\\d.]+ µs; allReduce takes [\\d.]+ of that$`)),
  );

  test("ranks of this host", () => {
    const { rows, below } = measure("--sizes", "16384");
    expect(rows.get("bytes")?.slice(0, 2)).toEqual(["shm µs", "tcp µs"]);
    expect(rows.get("16 KiB")?.slice(0, 2)).toEqual([expect.stringMatching(TIME), expect.stringMatching(TIME)]);
    expect(below.filter((line) => line.startsWith("tcp"))).toEqual(references);
  }, 120_000);

  describeWithCluster("hosts", () => {
    test(
      "on a limited link",
      () => {
        const { rows, below } = measure("--hosts", "2", "--rate", "1000", "--sizes", "16384");
        expect(rows.get("bytes")).toEqual(expect.arrayContaining(["tcp µs", "tcp, of the link"]));
        expect(rows.get("16 KiB")?.[0]).toMatch(TIME);
        expect(below).toEqual(references);
      },
      CLUSTER_START_LIMIT_MS,
    );
  });
});
