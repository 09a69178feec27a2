/** Certificates for tests, made by openssl. */
import { execFileSync, spawnSync } from "node:child_process";
import { join } from "node:path";

export const hasOpenssl = spawnSync("openssl", ["version"]).status === 0;

/** Writes NAME.pem and NAME.key: an authority of its own, or a certificate for this address, signed by one of the directory. */
export function makeCertificate(directory: string, name: string, authority?: string, address = "127.0.0.1"): void {
  const file = (suffix: string) => join(directory, suffix);
  const signer = authority === undefined ? [] : ["-CA", file(`${authority}.pem`), "-CAkey", file(`${authority}.key`)];
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", file(`${name}.key`)];
  const names = authority === undefined ? [] : ["-addext", `subjectAltName=IP:${address}`];
  const request = ["req", "-x509", ...key, "-subj", `/CN=${name}`, "-days", "2", ...names, ...signer];
  execFileSync("openssl", [...request, "-out", file(`${name}.pem`)], { stdio: "pipe" });
}
