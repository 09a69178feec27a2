/** Parts of a run on three hosts are lost: the first cause is named, everything else ends soon, everywhere, with mpirun's exit code. */
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { type Cluster, CLUSTER_START_LIMIT_MS, describeWithCluster, startCluster } from "../support/cluster.ts";
import { HOST_FAILURES, runHostFailure } from "../support/host-failures.ts";

describeWithCluster("six ranks on three hosts", () => {
  let cluster: Cluster;
  beforeAll(async () => {
    cluster = await startCluster({ numHosts: 3 });
  }, CLUSTER_START_LIMIT_MS);
  afterAll(() => cluster.stop());

  test.each(Object.entries(HOST_FAILURES))("%s", async (_, failure) => {
    const { end, left, stderr } = await runHostFailure(cluster, failure);
    expect([end, left]).toEqual([failure.end, []]);
    expect(stderr).toMatch(failure.cause);
  });
});
