/**
 * How a connection proves that it belongs to this run: an HMAC of the run's secret in the call's metadata. The secret itself
 * never travels, so whoever else happens to listen on a port that a rank tries learns nothing that opens the data plane.
 */
import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { Metadata } from "@grpc/grpc-js";

const PROOF_KEY = "shardrun-proof";

/** A secret for a run that was given none. */
export function createSecret(): Uint8Array {
  return Uint8Array.from(randomBytes(32));
}

/** The metadata that every call of this run carries. */
export function proveSecret(secret: Uint8Array): Metadata {
  const metadata = new Metadata();
  metadata.set(PROOF_KEY, computeProof(secret).toString("hex"));
  return metadata;
}

/** Whether these metadata come from someone who knows the secret; in constant time. */
export function checkProof(metadata: Metadata, secret: Uint8Array): boolean {
  const [given] = metadata.get(PROOF_KEY);
  const expected = computeProof(secret);
  const received = Buffer.from(typeof given === "string" ? given : "", "hex");
  return received.length === expected.length && timingSafeEqual(received, expected);
}

function computeProof(secret: Uint8Array): Buffer {
  return createHmac("sha256", secret).update("shardrun gRPC").digest();
}
