/**
 * TLS for the control channel, where the user has certificates: the files that SHARDRUN_TLS_* name come in, gRPC's credentials
 * go out. The files are checked here, as gRPC would only say that no connection came about.
 */
import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { type ChannelCredentials, credentials, ServerCredentials } from "@grpc/grpc-js";
import type { Environment } from "../environment.ts";
import { RendezvousError } from "../errors.ts";
import type { MeetingPoint } from "./meeting-point.ts";

/** How a rank speaks with the coordinator, and the coordinator with every rank. */
export interface ControlCredentials {
  readonly client: ChannelCredentials;
  /** For rank 0. */
  readonly server: ServerCredentials;
}

export const PLAIN_CREDENTIALS: ControlCredentials = {
  client: credentials.createInsecure(),
  server: ServerCredentials.createInsecure(),
};

/**
 * Plain between the ranks of one host, and without SHARDRUN_TLS_CERT. With SHARDRUN_TLS_CA both sides must show a certificate
 * which that authority signed; without it, rank 0 must have one that this system trusts.
 * @throws {RendezvousError} naming the file that is missing, is no certificate or key, or does not fit the other
 */
export function loadCredentials({ tls, hosts }: Environment, { kind }: MeetingPoint): ControlCredentials {
  if (tls === undefined || hosts === "one" || kind === "file") return PLAIN_CREDENTIALS;
  const certificate = readPem("SHARDRUN_TLS_CERT", tls.certificateFile, (pem) => new X509Certificate(pem));
  const key = readPem<KeyObject>("SHARDRUN_TLS_KEY", tls.keyFile, createPrivateKey);
  if (!certificate.parsed.checkPrivateKey(key.parsed)) {
    throw new RendezvousError(
      `The key "${tls.keyFile}" (SHARDRUN_TLS_KEY) does not belong to the certificate "${tls.certificateFile}" ` +
        "(SHARDRUN_TLS_CERT). Name the two that were made together.",
    );
  }
  const authority =
    tls.authorityFile === undefined
      ? null
      : readPem("SHARDRUN_TLS_CA", tls.authorityFile, (pem) => new X509Certificate(pem)).pem;
  const pair = { private_key: key.pem, cert_chain: certificate.pem };
  return {
    client: credentials.createSsl(authority, key.pem, certificate.pem),
    server: ServerCredentials.createSsl(authority, [pair], authority !== null),
  };
}

function readPem<T>(variable: string, file: string, parse: (pem: Buffer) => T): { pem: Buffer; parsed: T } {
  try {
    const pem = readFileSync(file);
    return { pem, parsed: parse(pem) };
  } catch (cause) {
    throw new RendezvousError(
      `Reading "${file}" (${variable}) failed: ${(cause as Error).message}. It must be a readable PEM file.`,
      { cause },
    );
  }
}
