import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import { fingerprintFiles } from "../../../src/model/fingerprint.ts";
import { useTemporaryDirectory } from "../../support/temporary-directory.ts";

const directory = useTemporaryDirectory();
let numFiles = 0;

async function digest(bytes: Uint8Array): Promise<string> {
  const file = join(directory, `file-${numFiles++}`);
  writeFileSync(file, bytes);
  const [fingerprint] = await fingerprintFiles([file]);
  expect(fingerprint).toEqual({
    name: `file-${numFiles - 1}`,
    digest: expect.stringMatching(/^[0-9a-f]{16}$/) as unknown,
  });
  return fingerprint!.digest;
}

test.each([0, 1, 100, 1 << 20, 3_000_000])("equal files of %i bytes are equal, one more byte is not", async (size) => {
  const bytes = new Uint8Array(size).map((_, i) => i % 251);
  expect(await digest(bytes)).toBe(await digest(bytes));
  expect(await digest(bytes)).not.toBe(await digest(Uint8Array.from([...bytes, 0])));
});

test("another training changes the samples far behind the beginning", async () => {
  const bytes = new Uint8Array(3_000_000);
  expect(await digest(bytes)).not.toBe(await digest(bytes.map((_, i) => (i > 2_000_000 ? 1 : 0))));
});

test("the beginning counts byte by byte", async () => {
  const bytes = new Uint8Array(5000);
  const changed = bytes.slice();
  changed[4321] = 1;
  expect(await digest(bytes)).not.toBe(await digest(changed));
});
