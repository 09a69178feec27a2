/** `shardrun bench --collectives` on real ranks: every transport of one host, as a table and as JSON. */
import { expect, test } from "@jest/globals";
import { TWO_RANKS } from "../support/launcher.ts";
import { runShardrun } from "../support/run-shardrun.ts";

const BENCH = ["bench", "--collectives", "--sizes", "4,65536"];

test("each transport prints its latencies and rates as one object", async () => {
  const { exitCode, stdout, stderr } = await runShardrun([...BENCH, ...TWO_RANKS, "--json"]);
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
  const reports = stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { transport: string; sizes: Record<string, number>[] });
  expect(reports.map(({ transport }) => transport)).toEqual(["shm", "tcp", "grpc"]);
  for (const { sizes } of reports) {
    expect(sizes.map(({ bytes }) => bytes)).toEqual([4, 65_536]);
    for (const size of sizes) expect(Object.values(size).every((value) => value > 0)).toBe(true);
    const { bytes, allReduceMicroseconds, allReduceBytesPerSecond } = sizes[1]!;
    expect(allReduceBytesPerSecond! * (allReduceMicroseconds! / 1e6)).toBeCloseTo(bytes!, 3);
  }
});

test("the transport that SHARDRUN_COLLECTIVES names is the only one, and prints a table", async () => {
  const { stdout } = await runShardrun([...BENCH, ...TWO_RANKS], { environment: { SHARDRUN_COLLECTIVES: "tcp" } });
  const number = String.raw`\s+[\d.]+(e[+-]\d+)?`;
  expect(stdout.trimEnd().split("\n")).toEqual([
    "tcp, 2 ranks: allReduce of float32, and a message from the first rank to the last",
    "",
    "      bytes  allReduce us       MB/s  message us       MB/s",
    expect.stringMatching(new RegExp(`^ +4 B(${number}){4}$`)),
    expect.stringMatching(new RegExp(`^ +64 KiB(${number}){4}$`)),
  ]);
});

test.each([
  [["-np", "1"], "--collectives measures what goes on between ranks: start at least two, with -np 2."],
  [
    [...TWO_RANKS, "--sizes", "4,5"],
    '--sizes expects bytes, in multiples of 4 and separated by commas, received "4,5".',
  ],
])("%j is refused", async (args, message) => {
  const { exitCode, stdout, stderr } = await runShardrun(["bench", "--collectives", ...args]);
  expect({ exitCode, stdout, stderr }).toEqual({ exitCode: 1, stdout: "", stderr: `shardrun: ${message}\n` });
});
