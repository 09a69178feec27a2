import { Metadata } from "@grpc/grpc-js";
import { expect, test } from "@jest/globals";
import { checkProof, createSecret, proveSecret } from "../../../src/rendezvous/secret.ts";

test("a proof holds for its own secret and for no other", () => {
  const secret = createSecret();
  expect(secret).toHaveLength(32);
  expect(checkProof(proveSecret(secret), secret)).toBe(true);
  expect(checkProof(proveSecret(createSecret()), secret)).toBe(false);
});

test("the secret does not travel", () => {
  const secret = createSecret();
  expect(JSON.stringify(proveSecret(secret).toJSON())).not.toContain(Buffer.from(secret).toString("hex"));
});

test.each(["", "00", "zz".repeat(32), "00".repeat(32), "00".repeat(4000)])("%.10s is no proof", (text) => {
  const metadata = new Metadata();
  metadata.set("shardrun-proof", text);
  expect(checkProof(metadata, createSecret())).toBe(false);
});

test("no metadata are no proof", () => {
  expect(checkProof(new Metadata(), createSecret())).toBe(false);
});
