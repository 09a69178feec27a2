/** Certificates made by openssl, over real sockets: who gets through, and what is said of files that are no good. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { logVerbosity, setLogVerbosity } from "@grpc/grpc-js";
import { afterEach, describe, expect, test } from "@jest/globals";
import { readEnvironment, type TlsFiles } from "../../../src/environment.ts";
import { RendezvousError } from "../../../src/errors.ts";
import type { CoordinatorAddress } from "../../../src/rendezvous/address-file.ts";
import { RendezvousClient } from "../../../src/rendezvous/client.ts";
import { Coordinator } from "../../../src/rendezvous/coordinator.ts";
import { createSecret } from "../../../src/rendezvous/secret.ts";
import { type ControlCredentials, loadCredentials, PLAIN_CREDENTIALS } from "../../../src/rendezvous/tls.ts";
import { hasOpenssl, makeCertificate } from "../../support/certificates.ts";
import { useTemporaryDirectory } from "../../support/temporary-directory.ts";

setLogVerbosity(logVerbosity.NONE);

const directory = useTemporaryDirectory();
const TIMING = { intervalMs: 20, silenceLimitMs: 2000 };
const MEETING_POINT = { kind: "address" as const, address: "127.0.0.1:4000", secret: createSecret() };
const cleanups: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

function filesOf(name: string, authority: string): TlsFiles {
  return {
    certificateFile: join(directory, `${name}.pem`),
    keyFile: join(directory, `${name}.key`),
    authorityFile: join(directory, `${authority}.pem`),
  };
}

function load({ certificateFile, keyFile, authorityFile }: TlsFiles): ControlCredentials {
  const environment = readEnvironment({
    SHARDRUN_RANK: "1",
    SHARDRUN_WORLD_SIZE: "2",
    SHARDRUN_LOCAL_WORLD_SIZE: "1",
    SHARDRUN_TLS_CERT: certificateFile,
    SHARDRUN_TLS_KEY: keyFile,
    SHARDRUN_TLS_CA: authorityFile,
  });
  return loadCredentials(environment, MEETING_POINT);
}

function joinOf(rank: number) {
  const process = { host: "hosta", machine: "", pid: 100 + rank, startTime: 0n };
  return { rank, worldSize: 2, source: "WORLD_SIZE", version: "1.0.0", process, dataAddress: "" };
}

async function openCoordinator({ server }: ControlCredentials): Promise<CoordinatorAddress> {
  const [coordinator, address] = await Coordinator.listen("127.0.0.1:0", {
    secret: createSecret(),
    credentials: server,
    startTimeoutMs: 5000,
    timing: TIMING,
    root: joinOf(0),
    log: () => {},
  });
  cleanups.push(() => coordinator.close());
  return address;
}

/** The number of peers, or the error. */
async function joinAs(rank: number, target: CoordinatorAddress, { client: credentials }: ControlCredentials) {
  const { identity } = readEnvironment({
    SHARDRUN_HOST: "hosta",
    SHARDRUN_RANK: String(rank),
    SHARDRUN_WORLD_SIZE: "2",
  });
  try {
    const client = await RendezvousClient.join({
      identity,
      meetingPoint: { kind: "address", ...target },
      credentials,
      join: joinOf(rank),
      startTimeoutMs: 2000, // a busy machine needs some of it for the handshake
      timing: TIMING,
      onFailure: () => {},
      onLeft: () => {},
      onTunnelOffer: () => {},
      log: () => {},
    });
    cleanups.push(() => client.leave(0));
    return client.peers.length;
  } catch (error) {
    return (error as Error).message.replace(/after \d+ ms/, "after N ms");
  }
}

// Skipped without openssl, which makes the certificates.
(hasOpenssl ? describe : describe.skip)("certificates", () => {
  makeCertificate(directory, "authority");
  makeCertificate(directory, "other-authority");
  makeCertificate(directory, "rank", "authority");
  makeCertificate(directory, "stranger", "other-authority");
  makeCertificate(directory, "elsewhere", "authority", "192.0.2.1");
  const rank = load(filesOf("rank", "authority"));

  test("ranks with certificates of the same authority join", async () => {
    const address = await openCoordinator(rank);
    expect(await Promise.all([joinAs(0, address, rank), joinAs(1, address, rank)])).toEqual([2, 2]);
  });

  test.each([
    ["none", () => PLAIN_CREDENTIALS],
    ["one of another authority", () => load(filesOf("stranger", "authority"))],
  ])("a rank that shows %s is not let in, secret or not", async (_, credentials) => {
    const address = await openCoordinator(rank);
    expect(await joinAs(1, address, credentials())).toBe(
      `Rendezvous timed out after N ms on rank 1 (hosta): rank 0 was not found, at ${address.address} ` +
        "(it hung up; SHARDRUN_TLS_CERT may differ or be missing). " +
        "The missing ranks may have ended, see their output, or need more time: SHARDRUN_START_TIMEOUT_MS.",
    );
  });

  test.each([
    ["is of another authority", "stranger", "self-signed certificate in certificate chain"],
    [
      "names another address",
      "elsewhere",
      "Hostname/IP does not match certificate's altnames: IP: 127.0.0.1 is not in the cert's list: 192.0.2.1",
    ],
  ])("rank 0's certificate %s", async (_, name, finding) => {
    const authority = name === "stranger" ? "other-authority" : "authority";
    const address = await openCoordinator(load(filesOf(name, authority)));
    expect(await joinAs(1, address, rank)).toBe(
      `Rank 1 (hosta) does not trust rank 0 at ${address.address}: ${finding}. ` +
        "Check SHARDRUN_TLS_CA here, and that rank 0's SHARDRUN_TLS_CERT is signed by it and names this address.",
    );
  });

  test("a key that belongs to another certificate", () => {
    const files = { ...filesOf("rank", "authority"), keyFile: join(directory, "stranger.key") };
    expect(() => load(files)).toThrow(
      new RendezvousError(
        `The key "${files.keyFile}" (SHARDRUN_TLS_KEY) does not belong to the certificate "${files.certificateFile}" ` +
          "(SHARDRUN_TLS_CERT). Name the two that were made together.",
      ),
    );
  });

  test.each([
    ["SHARDRUN_TLS_CERT", "certificateFile"],
    ["SHARDRUN_TLS_KEY", "keyFile"],
    ["SHARDRUN_TLS_CA", "authorityFile"],
  ])("%s names a file that is missing, or holds something else", (variable, member) => {
    const path = join(directory, `none-${member}`);
    const files = { ...filesOf("rank", "authority"), [member]: path };
    const remedy = "It must be a readable PEM file.";
    const message = `Reading "${path}" (${variable}) failed: ENOENT: no such file or directory, open '${path}'. ${remedy}`;
    expect(() => load(files)).toThrow(expect.objectContaining({ name: RendezvousError.name, message }));
    writeFileSync(path, "something else");
    expect(() => load(files)).toThrow(`Reading "${path}" (${variable}) failed: `);
  });
});

test("ranks of one host, and those who meet through a file, need no certificates", () => {
  const files = { SHARDRUN_TLS_CERT: "/none", SHARDRUN_TLS_KEY: "/none" };
  const file = { kind: "file" as const, path: "/none", secret: undefined };
  const oneHost = readEnvironment({ ...files, RANK: "0", WORLD_SIZE: "2", LOCAL_WORLD_SIZE: "2" });
  expect(loadCredentials(oneHost, MEETING_POINT)).toBe(PLAIN_CREDENTIALS);
  expect(loadCredentials(readEnvironment({ ...files, RANK: "0", WORLD_SIZE: "2" }), file)).toBe(PLAIN_CREDENTIALS);
});
