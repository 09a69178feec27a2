/** What ranks write and read through the launcher: nothing lost, nothing torn, nothing that fills the memory. */
import { createHash, randomBytes } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, test } from "@jest/globals";
import { LauncherRun, runLauncher, startLauncher, TWO_RANKS } from "../support/launcher.ts";
import { COMMAND } from "../support/run-shardrun.ts";
import { useTemporaryDirectory } from "../support/temporary-directory.ts";

const directory = useTemporaryDirectory();

/** writer.mjs LINES LENGTH: lines of this rank's digit, as fast as they are taken. */
const WRITER = join(directory, "writer.mjs");
writeFileSync(
  WRITER,
  `import { once } from "node:events";
   const [numLines, length] = process.argv.slice(2).map(Number);
   const line = process.env.RANK.repeat(length) + "\\n";
   for (let count = 0; count < numLines; count++) {
     if (!process.stdout.write(line)) await once(process.stdout, "drain");
   }`,
);

/** How often each line occurs, lines written as "digit x length". */
function countLines(text: string): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const line of text.split("\n").slice(0, -1)) {
    const isWhole = line === line[0]!.repeat(line.length);
    const key = isWhole ? `${line[0]} x ${line.length}` : `torn: ${line.slice(0, 50)}`;
    counts[key] = (counts[key] ?? 0) + 1;
  }
  return counts;
}

describe("lines of several ranks are not torn", () => {
  test.each([
    [3000, 99],
    [20, 300_000],
    [3, 5_000_000],
  ])("%i lines of %i bytes from each", async (numLines, length) => {
    const { end, stdout } = await runLauncher([...TWO_RANKS, "node", WRITER, String(numLines), String(length)]);
    expect(end).toBe(0);
    expect(countLines(stdout)).toEqual({ [`0 x ${length}`]: numLines, [`1 x ${length}`]: numLines });
  });

  test("nor when they come in pieces", async () => {
    const script = "for i in 1 2 3 4 5; do printf $RANK; printf $RANK; sleep 0.01; echo $RANK; done";
    const { stdout } = await runLauncher([...TWO_RANKS, "sh", "-c", script]);
    expect(countLines(stdout)).toEqual({ "0 x 3": 5, "1 x 3": 5 });
  });
});

test("100 MB come through whole, and the memory stays small although the reader is slow", async () => {
  const counter = `let bytes = 0; process.stdin.on("data", (chunk) => (bytes += chunk.length)).on("end", () => console.log(bytes)).pause();
    setTimeout(() => process.stdin.resume(), 1500);`;
  const launch = `"${process.execPath}" "${COMMAND}" -np 1 node "${WRITER}" 1000000 99`;
  const run = new LauncherRun(["sh", "-c", `${launch} | "${process.execPath}" -e '${counter}'`]);
  await delay(1400);
  const status = readFileSync(`/proc/${run.pidOf(`${COMMAND} -np`, "node")}/status`, "utf8");
  expect(Number(/VmHWM:\s+(\d+) kB/.exec(status)![1])).toBeLessThan(250_000);
  expect((await run.result).stdout).toBe("100000000\n");
});

test("a reader that has enough ends the run without a word", async () => {
  const launch = `"${process.execPath}" "${COMMAND}" -np 2 --oversubscribe yes`;
  const run = new LauncherRun(["bash", "-c", `${launch} | head -n 1; echo "\${PIPESTATUS[@]}"`]);
  expect(await run.result).toMatchObject({ end: 0, stdout: "y\n141 0\n", stderr: "" });
  expect(run.processes()).toEqual([]);
});

test("a reader that does not read does not keep a failed run alive", async () => {
  const script = "[ $RANK = 0 ] && exec yes; sleep 0.5; kill -9 $$";
  const launch = `"${process.execPath}" "${COMMAND}" -np 2 --oversubscribe sh -c '${script}'`;
  const run = new LauncherRun(["sh", "-c", `(${launch}; echo "code $?" >&2) | { sleep 600; cat; }`]);
  const ranks = (): string[] =>
    run.processes().flatMap(({ command }) => (/^(yes|sh -c \[)/.test(command) ? [command] : []));
  while (ranks().length < 2) await delay(10);
  while (ranks().length > 0) await delay(10); // the test's time limit is the assertion
});

describe("the form of the output", () => {
  test("streams keep apart", async () => {
    const script = "echo out; echo err >&2";
    expect(await runLauncher(["-np", "1", "sh", "-c", script])).toMatchObject({ stdout: "out\n", stderr: "err\n" });
  });

  test("bytes that are no text stay as they are", async () => {
    const script = "printf '\\000\\377\\n\\200'";
    expect((await runLauncher(["-np", "1", "sh", "-c", script])).stdout).toBe("\0\xff\n\x80");
  });

  test("--tag-output names job, rank and stream before every line", async () => {
    const args = [...TWO_RANKS, "--tag-output", "sh", "-c", "echo a; echo; printf b; echo err >&2"];
    const { stdout, stderr } = await runLauncher(args);
    const lines = ["[1,0]<stdout>:", "[1,0]<stdout>:a", "[1,0]<stdout>:b"];
    expect(stdout.split("\n").filter((line) => line.startsWith("[1,0]"))).toEqual([lines[1], lines[0], lines[2]]);
    expect(stdout.split("\n").filter((line) => line.startsWith("[1,1]"))).toHaveLength(3);
    expect(stderr.split("\n").sort()).toEqual(["", "[1,0]<stderr>:err", "[1,1]<stderr>:err"]);
  });

  test("--timestamp-output puts the time before every line", async () => {
    const args = ["-np", "1", "--timestamp-output", "--tag-output", "echo", "hi"];
    expect((await runLauncher(args)).stdout).toMatch(/^\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}\[1,0\]<stdout>:hi\n$/);
  });

  test("a text without a newline is shown while its rank goes on", async () => {
    const run = startLauncher([...TWO_RANKS, "sh", "-c", "[ $RANK = 1 ] || printf Once; sleep 60"]);
    await run.waitForOutput("Once");
    run.child.kill("SIGTERM");
    expect((await run.result).stdout).toBe("Once");
  });

  test("--output-filename also writes a file for every rank and stream", async () => {
    const out = join(directory, "out");
    const args = [
      "-np",
      "11",
      "--oversubscribe",
      "--output-filename",
      out,
      "--tag-output",
      "sh",
      "-c",
      "echo $RANK; echo e >&2",
    ];
    const { stdout } = await runLauncher(args);
    expect(stdout).toContain("[1,10]<stdout>:10\n");
    expect(readdirSync(join(out, "1")).sort()).toEqual(
      Array.from({ length: 11 }, (_, rank) => `rank.${String(rank).padStart(2, "0")}`),
    );
    expect(readFileSync(join(out, "1", "rank.07", "stdout"), "utf8")).toBe("7\n");
    expect(readFileSync(join(out, "1", "rank.10", "stderr"), "utf8")).toBe("e\n");
  });

  test("--output-filename that cannot be written ends the run", async () => {
    const out = join(directory, "blocked");
    mkdirSync(join(out, "1", "rank.0", "stdout"), { recursive: true });
    expect(await runLauncher(["-np", "1", "--output-filename", out, "sh", "-c", "echo hi; sleep 60"])).toMatchObject({
      end: 1,
      stderr:
        `shardrun: Could not write the output of rank 0 to ${join(out, "1/rank.0/stdout")}: ` +
        `EISDIR: illegal operation on a directory, open '${join(out, "1/rank.0/stdout")}'.\n`,
    });
  });
});

describe("standard input", () => {
  test("goes to rank 0 alone", async () => {
    const args = [...TWO_RANKS, "--tag-output", "cat"];
    expect((await runLauncher(args, { input: "a\nb" })).stdout).toBe("[1,0]<stdout>:a\n[1,0]<stdout>:b");
  });

  test("goes to the rank that --stdin names, or to none", async () => {
    const cat = ["--tag-output", "cat"];
    expect((await runLauncher([...TWO_RANKS, "--stdin", "1", ...cat], { input: "a\n" })).stdout).toBe(
      "[1,1]<stdout>:a\n",
    );
    expect(await runLauncher([...TWO_RANKS, "--stdin", "none", ...cat], { input: "a\n" })).toMatchObject({
      end: 0,
      stdout: "",
    });
  });

  test("of 20 MB arrives whole", async () => {
    const input = randomBytes(20_000_000);
    const sum = createHash("md5").update(input).digest("hex");
    expect(await runLauncher(["-np", "1", "md5sum"], { input })).toMatchObject({ end: 0, stdout: `${sum}  -\n` });
  });

  test("that nobody reads holds nothing up", async () => {
    const input = randomBytes(5_000_000);
    expect(await runLauncher(["-np", "1", "true"], { input })).toMatchObject({ end: 0, stderr: "" });
    expect(await runLauncher(["-np", "1", "sh", "-c", "exec <&-; sleep 0.3"], { input })).toMatchObject({
      end: 0,
      stderr: "",
    });
  });
});
