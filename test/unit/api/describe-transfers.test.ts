/** What is said of weights that went to other hosts. */
import { expect, test } from "@jest/globals";
import { describeTransfers } from "../../../src/api/describe-transfers.ts";

const transfer = (host: string, sentBytes: number) => ({
  host,
  rank: 1,
  totalBytes: sentBytes,
  sentBytes,
  milliseconds: 2000,
});

test("one line per host that was sent something, one for the others", () => {
  expect(describeTransfers([transfer("hostb", 0), transfer("hostc", 240_000_000), transfer("hostd", 0)])).toEqual([
    "sent 240 MB of weights to hostc in 2.00 s (120 MB/s).",
    "sent 0 bytes of weights to hostb, hostd: cached there.",
  ]);
});

test("nothing where every host has a copy", () => {
  expect(describeTransfers([])).toEqual([]);
});
