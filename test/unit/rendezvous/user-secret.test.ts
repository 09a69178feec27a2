import { spawn } from "node:child_process";
import { chmodSync, mkdtempSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "@jest/globals";
import { useTemporaryDirectory } from "../../support/temporary-directory.ts";

const directory = useTemporaryDirectory();
const MODULE = fileURLToPath(new URL("../../../dist/rendezvous/user-secret.js", import.meta.url));
const FILE = `shardrun-${process.geteuid!()}.secret`;

/** What userSecret() gives in a process of its own, as the temp directory is a process's environment. */
async function readIn(temporary: string): Promise<string> {
  const script = `
    import { userSecret } from ${JSON.stringify(MODULE)};
    try { console.log(Buffer.from(userSecret()).toString("hex")); } catch (error) { console.log(error.message); }`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
    env: { ...process.env, TMPDIR: temporary },
    stdio: ["ignore", "pipe", "inherit"],
  });
  let output = "";
  for await (const chunk of child.stdout) output += String(chunk);
  return output.trim();
}

test("all processes of a user read the same secret, however many make it at once", async () => {
  const temporary = mkdtempSync(join(directory, "same-"));
  const secrets = await Promise.all(Array.from({ length: 4 }, () => readIn(temporary)));
  expect(secrets[0]).toMatch(/^[0-9a-f]{64}$/);
  expect(new Set(secrets).size).toBe(1);
  expect(await readIn(temporary)).toBe(secrets[0]);
  expect(readdirSync(temporary)).toEqual([FILE]);
  expect(statSync(join(temporary, FILE)).mode & 0o777).toBe(0o600);
});

test("a file that others may read, or that holds no secret, is not believed", async () => {
  const temporary = mkdtempSync(join(directory, "bad-"));
  const path = join(temporary, FILE);
  const refusal = (reason: string) =>
    `The file ${path} was not believed: ${reason}. Another user or program may have put it there: remove it.`;
  writeFileSync(path, "", { mode: 0o600 });
  expect(await readIn(temporary)).toBe(refusal("it does not hold a secret"));
  chmodSync(path, 0o640);
  expect(await readIn(temporary)).toBe(refusal("its mode is 640, expected 600"));
});

test("a directory that cannot be written is an error that says what to do", async () => {
  const missing = join(directory, "missing");
  const path = join(missing, FILE);
  expect((await readIn(missing)).replace(/\.\d+'/, ".PID'")).toBe(
    `Writing the secret of this user's ranks to ${path} failed: ENOENT: no such file or directory, open '${path}.PID'. ` +
      "Make the temp directory writable, name another one in TMPDIR, or set SHARDRUN_SECRET for all ranks.",
  );
});
