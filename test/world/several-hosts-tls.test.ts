/** --tls-cert, --tls-key and --tls-ca: ranks on two hosts join over TLS, and only with the right certificates. */
import { cpSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { hasOpenssl, makeCertificate } from "../support/certificates.ts";
import {
  type Cluster,
  CLUSTER_START_LIMIT_MS,
  describeWithCluster,
  type HostResult,
  startCluster,
} from "../support/cluster.ts";
import { COMMAND, runNode } from "../support/run-shardrun.ts";
import { useTemporaryDirectory } from "../support/temporary-directory.ts";

const GENERATE = join(import.meta.dirname, "../../scripts/generate.mjs");
const directory = useTemporaryDirectory();
describeWithCluster(
  "TLS between two hosts",
  () => {
    let cluster: Cluster;
    beforeAll(async () => {
      cluster = await startCluster({ numHosts: 2, directories: [directory] });
      makeCertificate(directory, "authority");
      makeCertificate(directory, "ranks", "authority", cluster.hosts[0]!.address);
      makeCertificate(directory, "stranger");
    }, CLUSTER_START_LIMIT_MS);
    afterAll(() => cluster.stop());

    function generate(certificate: string, key: string, authority: string): Promise<HostResult> {
      const tls = ["--tls-cert", `${certificate}.pem`, "--tls-key", `${key}.key`, "--tls-ca", `${authority}.pem`];
      const run = [process.execPath, COMMAND, "-H", "hosta,hostb", "--start-timeout", "5", ...tls];
      const command = [...run, "--wdir", "/", process.execPath, GENERATE]; // the files are named from where it is typed
      return cluster.run("hosta", ["sh", "-c", `cd ${directory} && exec "$@"`, "sh", ...command]);
    }

    test("with certificates of one authority the answer is one rank's", async () => {
      const several = await generate("ranks", "ranks", "authority");
      const one = await runNode([GENERATE]);
      expect(several).toEqual({ exitCode: 0, stdout: one.stdout, stderr: "" });
    });

    test("with another authority's, the ranks do not join", async () => {
      const { exitCode, stdout, stderr } = await generate("ranks", "ranks", "stranger");
      expect([exitCode, stdout]).toEqual([1, ""]);
      expect(stderr).toMatch(
        /Rank [01] \(host[ab]\) does not trust rank 0 at 198\.18\.77\.1:\d+: unable to verify the first/,
      );
    });

    test("with the key of another certificate, each rank says so", async () => {
      cpSync(join(directory, "stranger.key"), join(directory, "other.key"));
      const { exitCode, stderr } = await generate("ranks", "other", "authority");
      expect(exitCode).toBe(1);
      expect(stderr).toContain(
        `The key "${directory}/other.key" (SHARDRUN_TLS_KEY) does not belong to the certificate "${directory}/ranks.pem" ` +
          "(SHARDRUN_TLS_CERT). Name the two that were made together.",
      );
    });
  },
  hasOpenssl ? undefined : "needs openssl",
);
