import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import { RendezvousError } from "../../../src/errors.ts";
import {
  addressFilePath,
  readAddressFile,
  removeAddressFile,
  writeAddressFile,
} from "../../../src/rendezvous/address-file.ts";
import { createSecret } from "../../../src/rendezvous/secret.ts";
import { useTemporaryDirectory } from "../../support/temporary-directory.ts";

const directory = useTemporaryDirectory();
const here = { address: "127.0.0.1:4000", secret: createSecret() };

function refusal(path: string, reason: string) {
  const message =
    `The file ${path} was not believed: ${reason}. ` + "Another user or program may have put it there: remove it.";
  return expect.objectContaining({ name: RendezvousError.name, message });
}

test("runs that differ in anything have different files, the same run one", () => {
  const path = addressFilePath("openmpi", "1335099393", 2);
  expect(addressFilePath("openmpi", "1335099393", 2)).toBe(path);
  const others = [
    addressFilePath("pmi", "1335099393", 2),
    addressFilePath("openmpi", "1335099394", 2),
    addressFilePath("openmpi", "1335099393", 3),
  ];
  expect(new Set([path, ...others]).size).toBe(4);
});

test("what was written is read, by the user alone, and leaves no draft behind", () => {
  const path = join(directory, "written");
  expect(readAddressFile(path)).toBeUndefined();
  writeAddressFile(path, here);
  expect(readAddressFile(path)).toEqual(here);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(readdirSync(directory)).toEqual(["written"]);
});

test("a later run takes the place of a stale file, which the earlier run then does not remove", () => {
  const path = join(directory, "stale");
  const later = { address: "127.0.0.1:4001", secret: createSecret() };
  writeAddressFile(path, here);
  writeAddressFile(path, later);
  removeAddressFile(path, here);
  expect(readAddressFile(path)).toEqual(later);
  removeAddressFile(path, later);
  expect(existsSync(path)).toBe(false);
});

test("a file that others may read is not believed", () => {
  const path = join(directory, "open");
  writeAddressFile(path, here);
  chmodSync(path, 0o644);
  expect(() => readAddressFile(path)).toThrow(refusal(path, "its mode is 644, expected 600"));
});

test("a symbolic link is not followed", () => {
  const path = join(directory, "link");
  writeAddressFile(join(directory, "target"), here);
  symlinkSync(join(directory, "target"), path);
  expect(() => readAddressFile(path)).toThrow(
    refusal(path, `ELOOP: too many symbolic links encountered, open '${path}'`),
  );
});

test.each(["", "{", "null", '{"address":"127.0.0.1:1"}', '{"address":1,"secret":"00"}'])("%j is no address", (text) => {
  const path = join(directory, "garbage");
  writeFileSync(path, text, { mode: 0o600 });
  expect(() => readAddressFile(path)).toThrow(refusal(path, "it does not hold an address and a secret"));
});

test("a place that cannot be written is an error that says what to do", () => {
  const path = join(directory, "missing", "file");
  expect(() => writeAddressFile(path, here)).toThrow(
    expect.objectContaining({
      name: RendezvousError.name,
      message:
        `Writing rank 0's address to ${path} failed: ENOENT: no such file or directory, open '${path}.${process.pid}'. ` +
        "Make the temp directory writable or name another one in TMPDIR, the same for all ranks.",
    }),
  );
});

test("a name that is taken by a directory is not believed", () => {
  const path = join(directory, "directory");
  mkdirSync(path, { mode: 0o700 });
  expect(() => readAddressFile(path)).toThrow(refusal(path, "it is no regular file"));
});

// A file of another user can be made by root alone.
const testAsRoot = process.geteuid!() === 0 ? test : test.skip;
testAsRoot("a file of another user is not believed", () => {
  const path = join(directory, "foreign");
  writeAddressFile(path, here);
  chownSync(path, 12_345, 12_345);
  expect(() => readAddressFile(path)).toThrow(refusal(path, "it belongs to user 12345"));
});
