/**
 * The same command lines and hostfiles given to Open MPI's mpirun and to shardrun: same world, same places, same exit
 * code. Where they differ on purpose, the table says why.
 */
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "@jest/globals";
import { LauncherRun, startLauncher } from "../support/launcher.ts";
import { useTemporaryDirectory } from "../support/temporary-directory.ts";

const directory = useTemporaryDirectory();
const HOSTFILE = join(directory, "hosts");
/** Rank, size, rank and size on this host, in Open MPI's words, which both set. */
const PLACE = [
  "sh",
  "-c",
  "echo $OMPI_COMM_WORLD_RANK/$OMPI_COMM_WORLD_SIZE $OMPI_COMM_WORLD_LOCAL_RANK/$OMPI_COMM_WORLD_LOCAL_SIZE u$OMPI_UNIVERSE_SIZE",
];
const ROOT_ALLOWED = { OMPI_ALLOW_RUN_AS_ROOT: "1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: "1" };

const version = /Open MPI\) (\S+)/.exec(spawnSync("mpirun", ["--version"], { encoding: "utf8" }).stdout ?? "")?.[1];
const isOracle = version?.startsWith("4.") ?? false;
const describeWithMpirun = isOracle ? describe : describe.skip;
const reason = isOracle ? `mpirun ${version}` : `skipped: needs mpirun of Open MPI 4, found ${version ?? "none"}`;

/** What a run came to, as far as it can be compared: the end, and the ranks' lines in any order. */
async function comparable(run: LauncherRun): Promise<{ end: unknown; lines: string[] }> {
  const { end, stdout } = await run.result;
  return { end, lines: stdout.split("\n").slice(0, -1).sort() };
}

function mpirun(args: readonly string[]) {
  return comparable(new LauncherRun(["mpirun", ...args], { environment: ROOT_ALLOWED }));
}

function shardrun(args: readonly string[]) {
  return comparable(startLauncher(args));
}

describeWithMpirun(`command lines (${reason})`, () => {
  test.each<[args: string[]]>([
    [["-np", "2", "--oversubscribe", ...PLACE]],
    [["-n", "1", ...PLACE]],
    [["-c", "1", ...PLACE]],
    [["--np", "1", ...PLACE]],
    [["-np", "2", "-np", "1", ...PLACE]],
    [[...PLACE]],
    [["-H", "localhost", ...PLACE]],
    [["-H", "localhost:3", ...PLACE]],
    [["-H", "localhost,localhost", ...PLACE]],
    [["-H", "localhost,localhost:2", ...PLACE]],
    [["-host", "localhost:3", "-np", "2", ...PLACE]],
    [["-H", "localhost", "-np", "2", ...PLACE]],
    [["-H", "localhost", "-np", "3", "--oversubscribe", ...PLACE]],
    [["-np", "1000", ...PLACE]],
    [["-np", "x", ...PLACE]],
    [["-np", "-1", ...PLACE]],
    [["-np"]],
    [[]],
    [["--bogus", ...PLACE]],
    [["-np", "1", "-x", "A=1", "-x", "NOT_SET_ANYWHERE", "sh", "-c", "echo $A"]],
    [["-np", "1", "--wdir", "/tmp", "pwd"]],
    [["-np", "1", "-wd", "/no/such/directory", "pwd"]],
    [["-np", "1", "/no/such/program"]],
    [["-np", "1", "/etc/passwd"]],
    [["-np", "1", "sh", "-c", "exit 7"]],
    [["-np", "1", "sh", "-c", "exit 255"]],
    [["-H", "localhost:2", "sh", "-c", "[ $OMPI_COMM_WORLD_RANK = 0 ] || exit 4; sleep 60"]],
    [["-np", "1", "sh", "-c", "kill -9 $$"]],
    [["-np", "1", "sh", "-c", "kill -15 $$"]],
    [["-np", "1", "sh", "-c", "kill -11 $$"]],
    [["-np", "1", "--timeout", "1", "sleep", "60"]],
    [["-np", "1", "--tag-output", "echo", "hi"]],
    [["-H", "localhost:3", "--rank-by", "node", ...PLACE]],
    [["-H", "localhost:3", "--map-by", "node", "--rank-by", "slot", ...PLACE]],
    [["-H", "localhost:2", "--map-by", "numa", ...PLACE]],
    [["-H", "localhost:2", "--bind-to", "numa", ...PLACE]],
    [["-H", "localhost:2", "--rank-by", "nonsense", ...PLACE]],
  ])("%j", async (args) => {
    expect(await shardrun(args)).toEqual(await mpirun(args));
  });
});

describeWithMpirun(`input and output (${reason})`, () => {
  const both = (args: readonly string[], input?: string) =>
    Promise.all([
      startLauncher(args, { input }).result,
      new LauncherRun(["mpirun", ...args], { environment: ROOT_ALLOWED, input }).result,
    ]);

  test.each(["0", "1", "none"])("--stdin %s", async (reader) => {
    const script = "echo $OMPI_COMM_WORLD_RANK $(cat)";
    const results = await both(["-H", "localhost:2", "--stdin", reader, "sh", "-c", script], "some words\n");
    const [ours, theirs] = results.map(({ end, stdout }) => [end, ...stdout.trim().split("\n").toSorted()]);
    expect(ours).toEqual(theirs);
  });

  test("--timestamp-output, --tag-output, on both streams", async () => {
    const script = "echo out; echo err >&2";
    const results = await both(["-np", "1", "--tag-output", "--timestamp-output", "sh", "-c", script]);
    const withoutTime = (text: string) => text.replace(/\w{3} \w{3} [ \d]\d [\d:]{8} \d{4}/, "TIME");
    const [ours, theirs] = results.map(({ stdout, stderr }) => [withoutTime(stdout), withoutTime(stderr)]);
    expect(ours).toEqual(theirs);
    expect(ours![0]).toMatch(/TIME/);
  });

  test("--output-filename", async () => {
    const script = "echo out $OMPI_COMM_WORLD_RANK; echo err >&2";
    const [ours, theirs] = [join(directory, "ours"), join(directory, "theirs")];
    const args = (path: string) => ["-H", "localhost:2", "--output-filename", path, "sh", "-c", script];
    await startLauncher(args(ours)).result;
    await new LauncherRun(["mpirun", ...args(theirs)], { environment: ROOT_ALLOWED }).result;
    const filesOf = (path: string) =>
      readdirSync(path, { recursive: true, encoding: "utf8" })
        .filter((name) => /std(out|err)$/.test(name))
        .toSorted()
        .map((name) => [name, readFileSync(join(path, name), "utf8")]);
    expect(filesOf(ours)).toEqual(filesOf(theirs));
    expect(filesOf(ours)).toContainEqual(["1/rank.1/stdout", "out 1\n"]);
  });
});

describeWithMpirun(`signals (${reason})`, () => {
  test.each(["SIGINT", "SIGTERM"] as const)("%s", async (signal) => {
    const command = ["-np", "1", "sh", "-c", 'trap "echo bye; exit 0" TERM; sleep 60 & echo ready; wait'];
    const runs = [startLauncher(command), new LauncherRun(["mpirun", ...command], { environment: ROOT_ALLOWED })];
    for (const run of runs) {
      await run.waitForOutput("ready");
      run.child.kill(signal);
    }
    const [ours, theirs] = await Promise.all(runs.map(comparable));
    expect(ours).toEqual(theirs);
  });
});

describeWithMpirun(`hostfiles (${reason})`, () => {
  const all: string[] = [];
  test.each<[text: string, args?: string[]]>([
    ["localhost\n"],
    ["localhost\n", ["-np", "1000"]],
    ["localhost\nlocalhost\n"],
    ["localhost\nlocalhost\n", ["-np", "4"]],
    ["localhost slots=3\n"],
    ["localhost slots=3\n", ["-np", "2"]],
    ["localhost slots=3\n", ["-np", "4"]],
    ["localhost slots=3\n", ["-np", "4", "--oversubscribe"]],
    ["localhost slots=2\nlocalhost\n"],
    ["localhost slots=1\nlocalhost slots=2\n"],
    ["localhost slots=1\n127.0.0.1 slots=1\n"],
    ["localhost slots=2 slots=3\n"],
    ["# c\n\nlocalhost slots = 3 # x\n"],
    ["// c\n/* a\n b */\nlocalhost slots=3\n"],
    ["localhost cpu=3\n"],
    ["localhost count=3\n"],
    ["localhost max-slots=3\n"],
    ["localhost max_slots=3\n", ["-np", "4"]],
    ["localhost slots=2 max_slots=3\n"],
    ["localhost slots=2 max_slots=3\n", ["-np", "3"]],
    ["localhost slots=2 max_slots=1\n"],
    ["localhost Slots=2\n"],
    ["localhost bogus=1\n"],
    ["localhost slots=abc\n"],
    ["localhost slots=-1\n"],
    ['localhost slots="2"\n'],
    ["localhost slots=0\n"],
    [""],
    ["root@localhost slots=3\n"],
    ["127.0.0.1 slots=3\n"],
    ["localhost slots=3\n^elsewhere\n"],
    ["localhost slots=4\n", ["-H", "localhost"]],
    ["localhost slots=4\n", ["-H", "localhost:2"]],
    ["localhost slots=4\n", ["-H", "localhost:6"]],
    ["localhost slots=4\n", ["-H", "localhost:2", "-np", "3"]],
  ])("%j %j", async (text, args = all) => {
    writeFileSync(HOSTFILE, text);
    const command = ["-hostfile", HOSTFILE, ...args, ...PLACE];
    expect(await shardrun(command)).toEqual(await mpirun(command));
  });

  test("a hostfile that is not there", async () => {
    const command = ["-machinefile", "/no/such/hosts", ...PLACE];
    expect(await shardrun(command)).toEqual(await mpirun(command));
  });
});

describeWithMpirun(`differences on purpose (${reason})`, () => {
  test.each<[why: string, args: string[], hostfile: string | undefined, theirs: number, ours: number]>([
    ["no rank at all is a mistake, not a success", ["-np", "0", "-H", "localhost", "true"], undefined, 0, 1],
    [
      "a missing program has one exit code, with a path or without",
      ["-np", "1", "no-such-program"],
      undefined,
      134,
      132,
    ],
    ["a mistake in a hostfile exits like any other", ["true"], "localhost:2\n", 255, 1],
    ["the order of a host's lines does not matter", ["true"], "localhost\nlocalhost slots=2\n", 1, 0],
    ["a host that cannot be reached exits like any other mistake", ["true"], "no-such-host.invalid slots=2\n", 255, 1],
    ["only core, numa and none can be bound to", ["-np", "1", "--bind-to", "socket", "true"], undefined, 0, 1],
  ])("%s: %j", async (_why, args, hostfile, theirs, ours) => {
    if (hostfile !== undefined) writeFileSync(HOSTFILE, hostfile);
    const command = hostfile === undefined ? args : ["-hostfile", HOSTFILE, ...args];
    expect((await mpirun(command)).end).toBe(theirs);
    expect((await shardrun(command)).end).toBe(ours);
  });
});
