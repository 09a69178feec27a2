import { describe, expect, test } from "@jest/globals";
import { resolve } from "node:path";
import { explainYargsFailure, type LaunchOptions, parseLaunchCommand } from "../../../src/launch/options.ts";

const DEFAULTS: LaunchOptions = {
  numRanks: undefined,
  hostfile: undefined,
  hostLists: [],
  oversubscribe: false,
  mapBy: "slot",
  rankBy: undefined,
  displayMap: false,
  exports: [],
  workingDirectory: undefined,
  stdinRank: undefined,
  tagOutput: false,
  timestampOutput: false,
  outputDirectory: undefined,
  timeoutMs: undefined,
  startTimeoutMs: undefined,
  interface: undefined,
  sshArgs: [],
  prefix: undefined,
  push: false,
  tls: undefined,
  bindTo: "none",
  reportBindings: false,
};

const parse = (...args: string[]) => parseLaunchCommand(args);

describe("a launch command is read", () => {
  test.each<[args: string[], options: Partial<LaunchOptions>]>([
    [[], {}],
    [["-np", "4"], { numRanks: 4 }],
    [["--np", "4"], { numRanks: 4 }],
    [["-n", "4"], { numRanks: 4 }],
    [["-c", "4"], { numRanks: 4 }],
    [["-np=4"], { numRanks: 4 }],
    [["-np", "4", "-np", "3"], { numRanks: 3 }],
    [["-hostfile", "f"], { hostfile: "f" }],
    [["--machinefile", "f"], { hostfile: "f" }],
    [["-machinefile=f"], { hostfile: "f" }],
    [["-H", "a:2,b"], { hostLists: ["a:2,b"] }],
    [["-host", "a", "--host", "b"], { hostLists: ["a", "b"] }],
    [["-x", "A", "-x", "B=1 2", "-x", "C.d*"], { exports: ["A", "B=1 2", "C.d*"] }],
    [["-x", "_"], { exports: ["_"] }],
    [["-wd", "d"], { workingDirectory: "d" }],
    [
      ["--ssh-args", "-p 22  -F f", "--ssh-args=-4", "--interface", "eth0"],
      { sshArgs: ["-p", "22", "-F", "f", "-4"], interface: "eth0" },
    ],
    [["--prefix", "/opt/shardrun"], { prefix: "/opt/shardrun" }],
    [["--push"], { push: true }],
    [["--wdir", "d"], { workingDirectory: "d" }],
    [["-stdin", "1"], { stdinRank: 1 }],
    [["--stdin", "none"], { stdinRank: "none" }],
    [["-tag-output", "--timestamp-output"], { tagOutput: true, timestampOutput: true }],
    [["--output-filename", "out"], { outputDirectory: "out" }],
    [["--timeout", "1.5"], { timeoutMs: 1500 }],
    [["-start-timeout", "60"], { startTimeoutMs: 60_000 }],
    [["--map-by", "node", "--display-map"], { mapBy: "node", displayMap: true }],
    [["-map-by", "ppr:2:node"], { mapBy: { perHost: 2 } }],
    [["--map-by", "node", "--rank-by", "slot"], { mapBy: "node", rankBy: "slot" }],
    [["--rank-by", "node"], { rankBy: "node" }],
    [["--bind-to", "core", "-report-bindings"], { bindTo: "core", reportBindings: true }],
    [["--bind-to", "numa"], { bindTo: "numa" }],
    [["--map-by", "numa"], { mapBy: "numa", bindTo: "numa" }],
    [["--map-by", "numa", "--bind-to", "none"], { mapBy: "numa", bindTo: "none" }],
    [
      ["--tls-cert", "c.pem", "--tls-key", "/k.pem"],
      { tls: { certificateFile: resolve("c.pem"), keyFile: "/k.pem", authorityFile: undefined } },
    ],
    [
      ["--tls-cert", "/c.pem", "--tls-key", "/k.pem", "--tls-ca", "ca.pem"],
      { tls: { certificateFile: "/c.pem", keyFile: "/k.pem", authorityFile: resolve("ca.pem") } },
    ],
    [["--oversubscribe", "--allow-run-as-root"], { oversubscribe: true }],
  ])("%j", async (args, options) => {
    expect(await parse(...args, "prog")).toEqual({
      kind: "run",
      options: { ...DEFAULTS, ...options },
      command: ["prog"],
    });
  });
});

describe("the options end at the program", () => {
  test.each<[args: string[], command: string[]]>([
    [
      ["node", "-np", "4", "--help"],
      ["node", "-np", "4", "--help"],
    ],
    [
      ["-np", "2", "prog", "--", "-x", "1e3"],
      ["prog", "--", "-x", "1e3"],
    ],
    [["--oversubscribe", "true"], ["true"]],
    [
      ["-tag-output", "false", "x"],
      ["false", "x"],
    ],
    [
      ["-x", "A", "B", "C"],
      ["B", "C"],
    ],
    [
      ["--", "-odd-name", "--"],
      ["-odd-name", "--"],
    ],
  ])("%j", async (args, command) => {
    expect(await parse(...args)).toMatchObject({ kind: "run", command });
  });
});

test("help and version win over everything else", async () => {
  expect(await parse("-np", "2", "--version", "prog")).toEqual({ kind: "version" });
  const help = await parse("--help");
  expect(help).toMatchObject({ kind: "help" });
  for (const word of [
    "--np",
    "--hostfile, --machinefile",
    "-H, --host",
    "-x",
    "110: --timeout",
    "Two ranks on this host",
  ]) {
    expect((help as { text: string }).text).toContain(word);
  }
});

const NUM_RANKS = "-np expects the number of ranks, a whole number of at least 1";
const TLS = "Give --tls-cert and --tls-key, and --tls-ca for an authority of your own; or none of them.";
const TIMEOUT = "--timeout expects a number of seconds greater than 0 and at most 2000000";

describe("what is wrong is named, with what to do", () => {
  test.each<[args: string[], message: string]>([
    [["-np", "0", "prog"], `${NUM_RANKS}, received "0".`],
    [["-np", "x", "prog"], `${NUM_RANKS}, received "x".`],
    [["-np", "-1", "prog"], `${NUM_RANKS}, received "-1".`],
    [["-np", "1.5", "prog"], `${NUM_RANKS}, received "1.5".`],
    [["-np", "1e3", "prog"], `${NUM_RANKS}, received "1e3".`],
    [["-np", "", "prog"], `${NUM_RANKS}, received "".`],
    [["-np"], "The option -np needs a value. shardrun --help shows what it takes."],
    [["--timeout", "--tag-output", "prog"], "The option --timeout needs a value. shardrun --help shows what it takes."],
    [["--timeout", "0", "prog"], `${TIMEOUT}, received "0".`],
    [["--timeout", "1h", "prog"], `${TIMEOUT}, received "1h".`],
    [["--timeout", "3000000", "prog"], `${TIMEOUT}, received "3000000".`],
    [["--stdin", "all", "prog"], '--stdin expects a rank, or none, a whole number of at least 0, received "all".'],
    [["--map-by", "ppr:0:node", "prog"], '--map-by expects slot, node, numa or ppr:N:node, received "ppr:0:node".'],
    [
      ["--push", "--prefix", "/opt/shardrun", "prog"],
      "--push copies shardrun to the other hosts, --prefix /opt/shardrun says that it is there already. Give one of them.",
    ],
    [["--rank-by", "core", "prog"], '--rank-by expects slot or node, received "core".'],
    [["--bind-to", "socket", "prog"], '--bind-to expects core, numa or none, received "socket".'],
    [
      ["--tls-cert", "c.pem", "prog"],
      `TLS between hosts needs a certificate and its key: --tls-key is missing. ${TLS}`,
    ],
    [
      ["--tls-ca", "ca.pem", "prog"],
      `TLS between hosts needs a certificate and its key: --tls-cert and --tls-key are missing. ${TLS}`,
    ],
    [
      ["--bogus", "prog"],
      "Unknown option --bogus. shardrun --help shows all options; options of your program go after its name.",
    ],
    [
      ["-Z", "prog"],
      "Unknown option -Z. shardrun --help shows all options; options of your program go after its name.",
    ],
    [
      ["--mca", "btl", "tcp,self", "prog"],
      "mpirun's option --mca does not exist in shardrun. There is no Open MPI inside to be tuned. Leave it out.",
    ],
    [["-N", "2", "prog"], "mpirun's option -N does not exist in shardrun. Write --map-by ppr:N:node."],
    [["-q", "prog"], "mpirun's option -q does not exist in shardrun. There is nothing to be silenced. Leave it out."],
    [
      [],
      "There is no program to run. Name it after the options, e.g. shardrun -np 2 node script.mjs; shardrun --help shows all options.",
    ],
    [
      ["-np", "2"],
      "There is no program to run. Name it after the options, e.g. shardrun -np 2 node script.mjs; shardrun --help shows all options.",
    ],
  ])("%j", async (args, message) => {
    await expect(parse(...args)).rejects.toMatchObject({ name: "UsageError", code: "ERR_SHARDRUN_USAGE", message });
  });
});

test("an unforeseen complaint of yargs is passed on as it is", () => {
  expect(explainYargsFailure("Something else.").message).toBe("Something else.");
});
