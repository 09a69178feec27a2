/** The failures on several hosts of docs/failures.md, each twenty times; prints the table of that page. */
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { type Cluster, CLUSTER_START_LIMIT_MS, describeWithCluster, startCluster } from "../support/cluster.ts";
import { HOST_FAILURES, type HostFailureResult, runHostFailure } from "../support/host-failures.ts";

const NUM_REPEATS = Number(process.env["SHARDRUN_TEST_REPEATS"] ?? 20);
const LIMIT_MS = 600_000;

describeWithCluster(`six ranks on three hosts, each failure ${NUM_REPEATS} times`, () => {
  let cluster: Cluster;
  const rows = ["| what happens | median ms | slowest ms | exit code | left over |", "| --- | --- | --- | --- | --- |"];
  beforeAll(async () => {
    cluster = await startCluster({ numHosts: 3 });
  }, CLUSTER_START_LIMIT_MS);
  afterAll(async () => {
    process.stdout.write(`${rows.join("\n")}\n`);
    await cluster.stop();
  });

  test.each(Object.entries(HOST_FAILURES))(
    "%s",
    async (name, failure) => {
      const results: HostFailureResult[] = [];
      while (results.length < NUM_REPEATS) results.push(await runHostFailure(cluster, failure));
      const times = results.map(({ elapsedMs }) => elapsedMs).sort((a, b) => a - b);
      const ends = [...new Set(results.map(({ end }) => end))];
      const left = results.flatMap((result) => result.left);
      rows.push(
        `| ${name} | ${times[Math.floor(times.length / 2)]} | ${times.at(-1)} | ${ends.join(", ")} | ${left.join(", ") || "nothing"} |`,
      );
      expect([ends, left]).toEqual([[failure.end], []]);
      for (const { stderr } of results) expect(stderr).toMatch(failure.cause);
      for (const { elapsedMs } of results) expect(elapsedMs).toBeLessThan(failure.limitMs);
    },
    LIMIT_MS,
  );
});
