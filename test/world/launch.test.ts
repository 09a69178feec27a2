/** The launcher with real processes: what ranks are given, and the exit codes and messages of a run. */
import { hostname } from "node:os";
import { join } from "node:path";
import { writeFileSync } from "node:fs";
import { describe, expect, test } from "@jest/globals";
import { runLauncher, startLauncher, TWO_RANKS } from "../support/launcher.ts";
import { useTemporaryDirectory } from "../support/temporary-directory.ts";

const directory = useTemporaryDirectory();
const HOST = hostname();

/** The lines of a text, sorted: ranks write in any order. */
function sorted(text: string): string[] {
  return text.split("\n").slice(0, -1).sort();
}

describe("a run whose ranks all end well", () => {
  test("exits with 0 and says nothing itself", async () => {
    const run = startLauncher([...TWO_RANKS, "sh", "-c", 'echo "$RANK of $WORLD_SIZE"']);
    expect(await run.result).toMatchObject({ end: 0, stderr: "" });
    expect(sorted((await run.result).stdout)).toEqual(["0 of 2", "1 of 2"]);
    expect(run.processes()).toEqual([]);
  });

  test("gives every rank its identity", async () => {
    const names = "$SHARDRUN_RANK/$SHARDRUN_WORLD_SIZE $SHARDRUN_LOCAL_RANK/$SHARDRUN_LOCAL_WORLD_SIZE $SHARDRUN_HOST";
    const mpi = "$OMPI_COMM_WORLD_RANK/$OMPI_COMM_WORLD_SIZE $OMPI_COMM_WORLD_LOCAL_RANK $OMPI_UNIVERSE_SIZE";
    const { stdout } = await runLauncher(["-np", "2", "-H", "localhost:3", "sh", "-c", `echo "${names} ${mpi}"`]);
    expect(sorted(stdout)).toEqual([`0/2 0/2 ${HOST} 0/2 0 3`, `1/2 1/2 ${HOST} 1/2 1 3`]);
  });

  test("gives all ranks one secret, one id and one coordinator, and shows the secret to nobody", async () => {
    const script = 'echo "$SHARDRUN_SECRET $SHARDRUN_RUN_ID $SHARDRUN_COORDINATOR"; cat /proc/[0-9]*/cmdline >&2';
    const { stdout, stderr } = await runLauncher([...TWO_RANKS, "sh", "-c", script]);
    const [line, other] = sorted(stdout);
    expect(line).toMatch(/^[0-9a-f]{64} [0-9a-f]{16} 127\.0\.0\.1:[0-9]+$/);
    expect(other).toBe(line);
    expect(stderr).not.toContain(line!.split(" ")[0]);
  });

  test("passes the program's arguments through untouched", async () => {
    const args = ["-np", "7", "--", "", "a b", "$HOME", "--tag-output", "é"];
    const { stdout } = await runLauncher(["-np", "1", "printf", "%s|", ...args]);
    expect(Buffer.from(stdout, "latin1").toString()).toBe(args.map((arg) => `${arg}|`).join(""));
  });

  test("hands on variables with -x, and warns of one that is not set", async () => {
    const args = ["-np", "1", "-x", "A=a b", "-x", "NOT_SET_ANYWHERE", "sh", "-c", 'echo "$A $B"'];
    expect(await runLauncher(args, { environment: { B: "b" } })).toMatchObject({
      end: 0,
      stdout: "a b b\n",
      stderr:
        'shardrun: warning: could not find an environment variable "NOT_SET_ANYWHERE" to hand on (-x NOT_SET_ANYWHERE); ' +
        "the ranks start without it.\n",
    });
  });

  test("starts ranks in --wdir, and finds the program from there", async () => {
    writeFileSync(join(directory, "where"), "#!/bin/sh\npwd\n", { mode: 0o755 });
    expect(await runLauncher(["-np", "1", "--wdir", directory, "./where"])).toMatchObject({
      end: 0,
      stdout: `${directory}\n`,
    });
  });

  test("starts one rank per slot without -np", async () => {
    writeFileSync(join(directory, "hosts"), "localhost slots=3 # three\n");
    const { stdout } = await runLauncher(["-hostfile", join(directory, "hosts"), "sh", "-c", "echo $WORLD_SIZE"]);
    expect(stdout).toBe("3\n3\n3\n");
  });

  test("binds ranks to cores and says so", async () => {
    const args = ["-np", "1", "--bind-to", "core", "--report-bindings", "true"];
    expect((await runLauncher(args)).stderr).toMatch(
      new RegExp(`^\\[${HOST}:\\d+\\] rank 0 bound to core 0.*: \\[B.*\\]\\n$`),
    );
    expect((await runLauncher(["-np", "1", "--report-bindings", "true"])).stderr).toMatch(
      new RegExp(`^\\[${HOST}:\\d+\\] rank 0 is not bound \\(or bound to all available processors\\)\\n$`),
    );
  });
});

describe("a run that fails", () => {
  test.each([
    ["exit 7", 7, "exit code 7"],
    ["exit 255", 255, "exit code 255"],
    ["kill -TERM $$", 143, "signal 15 (Terminated)"],
    ["kill -SEGV $$", 139, "signal 11 (Segmentation fault)"],
    ["kill -KILL $$", 137, "signal 9 (Killed)"],
  ])("by `%s` of rank 1 exits with %i and names it", async (failure, end, how) => {
    const script = `[ $RANK = 0 ] && exec sleep 60; echo $$; ${failure}`;
    const run = startLauncher([...TWO_RANKS, "sh", "-c", script]);
    const { stdout, ...result } = await run.result;
    expect(result).toMatchObject({
      end,
      stderr:
        `shardrun: process rank 1 with PID ${stdout.trim()} on host ${HOST} exited ${how.startsWith("exit") ? "with" : "on"} ` +
        `${how}; the other ranks were ended.\n`,
    });
    expect(run.processes()).toEqual([]);
  });

  test("names the rank alone where there are no others", async () => {
    const { stdout, stderr } = await runLauncher(["-np", "1", "sh", "-c", "echo $$; exit 3"]);
    expect(stderr).toBe(
      `shardrun: process rank 0 with PID ${stdout.trim()} on host ${HOST} exited with exit code 3.\n`,
    );
  });

  test("ends ranks that ignore SIGTERM, with their children", async () => {
    const script = '[ $RANK = 1 ] && { sleep 0.3; exit 5; }; trap "" TERM; sleep 60 & sleep 60';
    const run = startLauncher([...TWO_RANKS, "sh", "-c", script]);
    expect(await run.result).toMatchObject({ end: 5 });
    expect(run.processes()).toEqual([]);
  });

  test("reports the first failure when the others fail too as they are ended", async () => {
    const script = '[ $RANK = 1 ] && exit 4; trap "exit 9" TERM; sleep 60 & wait';
    expect(await runLauncher([...TWO_RANKS, "sh", "-c", script])).toMatchObject({ end: 4 });
  });

  test("by --timeout exits with 110", async () => {
    const run = startLauncher([...TWO_RANKS, "--timeout", "0.5", "sleep", "60"]);
    expect(await run.result).toMatchObject({
      end: 110,
      stderr: "shardrun: the time limit of 0.5 s (--timeout) was reached: the ranks were ended.\n",
    });
    expect(run.processes()).toEqual([]);
  });
});

describe("a run that cannot start", () => {
  test.each<[args: string[], end: number, message: string]>([
    [
      [...TWO_RANKS, "no-such-program"],
      132,
      `Could not find the program "no-such-program" on host ${HOST}: no directory in PATH has it. ` +
        "Check its spelling, or give its path. No rank was started.",
    ],
    [
      [...TWO_RANKS, "--wdir", "/no/such/directory", "true"],
      135,
      `The working directory "/no/such/directory" does not exist on host ${HOST}, or is not a directory. ` +
        "No rank was started. Create it, or give another one with --wdir.",
    ],
    [
      ["-np", "3", "-H", "localhost:2", "true"],
      1,
      `There are not enough slots available in the system to satisfy the 3 slots that were requested: ${HOST} has 2. ` +
        "Ask for at most 2 ranks (-np 2), give the hosts more slots, or let ranks share slots with --oversubscribe.",
    ],
    [
      ["-np", "2", "--stdin", "2", "-H", "localhost:2", "true"],
      1,
      "--stdin 2 names a rank that is not started: there are 2, 0 to 1.",
    ],
    [["-np", "0", "true"], 1, '-np expects the number of ranks, a whole number of at least 1, received "0".'],
  ])("%j", async (args, end, message) => {
    expect(await runLauncher(args)).toMatchObject({ end, stdout: "", stderr: `shardrun: ${message}\n` });
  });

  test("because there are fewer cores than ranks to bind", async () => {
    const { end, stderr } = await runLauncher(["-np", "1000", "--oversubscribe", "--bind-to", "core", "true"]);
    expect(end).toBe(1);
    expect(stderr).toMatch(
      /^shardrun: --bind-to core cannot give 1000 ranks a core of their own: host \S+ has (\d+)\. Ask for at most \1 ranks, or leave out --bind-to\.\n$/,
    );
  });

  test("because the system refuses to start the program", async () => {
    writeFileSync(join(directory, "lost"), "#!/no/such/interpreter\n", { mode: 0o755 });
    const run = startLauncher([...TWO_RANKS, join(directory, "lost")]);
    expect(await run.result).toMatchObject({
      end: 132,
      stderr: `shardrun: Could not start rank 0 on host ${HOST}: spawn ${join(directory, "lost")} ENOENT.\n`,
    });
    expect(run.processes()).toEqual([]);
  });
});
