/** Plain programs on several hosts over real ssh: places, names, input, output, exit codes, failures; nothing is left on any host. */
import { execFileSync } from "node:child_process";
import { cpSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { availableParallelism, hostname } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "@jest/globals";
import { type Cluster, CLUSTER_START_LIMIT_MS, describeWithCluster, startCluster } from "../support/cluster.ts";
import { type LauncherRun, type LiveProcess, runLauncher, type RunResult, startLauncher } from "../support/launcher.ts";
import { CTRL_Q, CTRL_S, PseudoTerminal } from "../support/pseudo-terminal.ts";
import { COMMAND } from "../support/run-shardrun.ts";
import { useTemporaryDirectory } from "../support/temporary-directory.ts";

const ROOT = join(import.meta.dirname, "../..");
const HOSTS = ["hosta", "hostb", "hostc"] as const;
const LAUNCHER_ADDRESS = "198.18.77.254";
/** What a failing run may take to clear up here, where other tests run too. */
const LIMIT_MS = 10_000;

const directory = useTemporaryDirectory();
let cluster: Cluster;

/** The options by which ssh finds the hosts; every rank is given a mark by which the launcher's tests find it. */
const REACH = ["--ssh-args", `-F ${join(directory, "ssh_config")}`, "-x", "LAUNCH_TEST_MARK", "--wdir", "/"];

function run(...args: string[]): Promise<RunResult> {
  return runLauncher([...REACH, ...args]);
}

/** All processes of the hosts but for sshd's. */
function processesOn(hosts: readonly string[]): readonly LiveProcess[] {
  return hosts.flatMap((host) => cluster.processes(host)).filter(({ command }) => !command.includes("sshd"));
}

/** The pid of the only process of a host whose command line holds `text`; a shell that forks is two for a moment. */
async function pidOn(host: string, text: string): Promise<number> {
  for (;;) {
    const [found, ...others] = processesOn([host]).filter(({ command }) => command.includes(text));
    if (found !== undefined && others.length === 0) return found.pid;
    await delay(10);
  }
}

/** What is left on the hosts after at most `limitMs`. */
async function leftOnHosts(limitMs = LIMIT_MS): Promise<readonly LiveProcess[]> {
  const deadline = performance.now() + limitMs;
  while (processesOn(HOSTS).length > 0 && performance.now() < deadline) await delay(20);
  return processesOn(HOSTS);
}

/** One rank on each host and one here, which never end and ignore SIGTERM. */
async function startStubborn(): Promise<LauncherRun> {
  const started = startLauncher([
    ...REACH,
    "-H",
    "hosta,hostb,localhost",
    "sh",
    "-c",
    'trap "" TERM; echo ready; sleep 600; sleep 600',
  ]);
  await started.waitForOutput("ready\n", 3);
  return started;
}

describeWithCluster("several hosts", () => {
  beforeAll(async () => {
    cluster = await startCluster({ numHosts: HOSTS.length, directories: [directory] });
    const config = readFileSync(cluster.sshConfigFile, "utf8");
    writeFileSync(join(directory, "ssh_config"), `${config}Host hostx\n  HostName 198.18.77.200\n`);
  }, CLUSTER_START_LIMIT_MS);

  afterAll(() => cluster.stop());

  afterEach(async () => {
    expect(await leftOnHosts()).toEqual([]);
  });

  const WHO = "echo $RANK $LOCAL_RANK $LOCAL_WORLD_SIZE $WORLD_SIZE $SHARDRUN_HOST $(hostname) $MASTER_ADDR";

  function sorted(text: string): string[] {
    return text.trim().split("\n").sort();
  }

  describe("places", () => {
    test("slot by slot; rank 0 is found where ssh found its host", async () => {
      const { end, stdout, stderr } = await run("-H", "hosta:2,hostb:2", "-np", "3", "sh", "-c", WHO);
      expect({ end, stderr }).toEqual({ end: 0, stderr: "" });
      expect(sorted(stdout)).toEqual([
        "0 0 2 3 hosta hosta 198.18.77.1",
        "1 1 2 3 hosta hosta 198.18.77.1",
        "2 0 1 3 hostb hostb 198.18.77.1",
      ]);
    });

    test("hosts in turn, and the map of it", async () => {
      const { stdout, stderr } = await run(
        "-H",
        "hosta:2,hostb:2",
        "--map-by",
        "node",
        "--display-map",
        "sh",
        "-c",
        WHO,
      );
      expect(stderr).toBe("hosta (2 slots): ranks 0, 2\nhostb (2 slots): ranks 1, 3\n");
      expect(sorted(stdout)).toEqual([
        "0 0 2 4 hosta hosta 198.18.77.1",
        "1 0 2 4 hostb hostb 198.18.77.1",
        "2 1 2 4 hosta hosta 198.18.77.1",
        "3 1 2 4 hostb hostb 198.18.77.1",
      ]);
    });

    test("with this host first, rank 0 is found where the others are called from", async () => {
      const { stdout } = await run("-H", "localhost,root@hostc", "sh", "-c", WHO);
      expect(sorted(stdout)).toEqual([
        `0 0 1 2 ${hostname()} ${hostname()} ${LAUNCHER_ADDRESS}`,
        `1 0 1 2 hostc hostc ${LAUNCHER_ADDRESS}`,
      ]);
    });

    test("all on one other host meet on its loopback, or at --interface", async () => {
      expect((await run("-H", "hostb:1", "sh", "-c", WHO)).stdout).toBe("0 0 1 1 hostb hostb 127.0.0.1\n");
      expect((await run("-H", "hostb:1", "--interface", "eth0", "sh", "-c", WHO)).stdout).toBe(
        "0 0 1 1 hostb hostb 198.18.77.2\n",
      );
    });

    test("a host without slots has room for as many as it has cores", async () => {
      const hostfile = join(directory, "hosts");
      writeFileSync(hostfile, "hosta port=22\nhostb slots=1\n");
      const { stdout } = await run("-hostfile", hostfile, "sh", "-c", "echo $SHARDRUN_HOST");
      expect(sorted(stdout)).toEqual([...Array<string>(availableParallelism()).fill("hosta"), "hostb"]);
    });
  });

  describe("what ranks are given", () => {
    test("-x, and what is set on their own host, but not what is set here", async () => {
      const { stdout } = await runLauncher(
        [
          ...REACH,
          "-H",
          "hosta",
          "-x",
          "GIVEN",
          "-x",
          "ALSO=two words",
          "sh",
          "-c",
          'echo "$GIVEN|$ALSO|$HOME|$KEPT|$SSH_CONNECTION"',
        ],
        { environment: { GIVEN: "1", KEPT: "here" } },
      );
      expect(stdout).toMatch(new RegExp(`^1\\|two words\\|/[^|]+\\|\\|${LAUNCHER_ADDRESS} \\d+ 198.18.77.1 22\n$`));
    });

    test("standard input, on whichever host it is read", async () => {
      const input = "line\n".repeat(200_000);
      const { stdout } = await runLauncher([...REACH, "-H", "hosta,hostb", "--stdin", "1", "cat"], { input });
      expect(stdout).toBe(input);
    });

    test("the secret, but in no argument list", async () => {
      const started = startLauncher([...REACH, "-H", "hosta", "sh", "-c", "echo $SHARDRUN_SECRET; sleep 1"]);
      while (!/\n/.test(started.stdout)) await delay(10);
      const secret = started.stdout.trim();
      expect(secret).toMatch(/^[0-9a-f]{64}$/);
      const commands = readdirSync("/proc").flatMap((name) => {
        try {
          return /^\d+$/.test(name) ? [readFileSync(`/proc/${name}/cmdline`, "latin1")] : [];
        } catch {
          return [];
        }
      });
      expect(commands.filter((command) => command.includes(secret))).toEqual([]);
      expect(await started.result).toMatchObject({ end: 0 });
    });
  });

  describe("the end", () => {
    test("the first rank that fails decides, and ends the others everywhere", async () => {
      const { end, stderr, elapsedMs } = await run(
        "-H",
        "hosta,hostb",
        "sh",
        "-c",
        "[ $RANK = 1 ] && exit 7; sleep 600",
      );
      expect(end).toBe(7);
      expect(stderr).toMatch(
        /^shardrun: process rank 1 with PID \d+ on host hostb exited with exit code 7; the other ranks were ended\.\n$/,
      );
      expect(elapsedMs).toBeLessThan(LIMIT_MS);
    });

    test("--timeout", async () => {
      const { end, stderr } = await run("-H", "hosta,hostb", "--timeout", "1", "sleep", "600");
      expect({ end, stderr }).toEqual({
        end: 110,
        stderr: "shardrun: the time limit of 1 s (--timeout) was reached: the ranks were ended.\n",
      });
    });

    test("output is complete, and written to files here", async () => {
      const { stdout } = await run("-H", "hosta,hostb", "--output-filename", join(directory, "out"), "seq", "20000");
      expect(stdout.length).toBe(2 * 108_894);
      expect(readFileSync(join(directory, "out/1/rank.1/stdout"), "utf8").length).toBe(108_894);
    });

    test.each(["SIGINT", "SIGTERM"] as const)("%s to the launcher lets ranks end in their way", async (signal) => {
      const script = 'trap "echo bye; exit 0" TERM; sleep 60 & echo ready; wait';
      const started = startLauncher([...REACH, "-H", "hosta,hostb", "sh", "-c", script]);
      await started.waitForOutput("ready\n", 2);
      started.child.kill(signal);
      expect(await started.result).toMatchObject({
        end: 1,
        stdout: "ready\nready\nbye\nbye\n",
        stderr: `shardrun: ${signal} received: the ranks were ended.\n`,
      });
    });

    test("SIGUSR1 is handed on", async () => {
      const script = 'trap "echo got; exit 0" USR1; echo ready; while :; do sleep 0.05; done';
      const started = startLauncher([...REACH, "-H", "hosta,hostb", "sh", "-c", script]);
      await started.waitForOutput("ready\n", 2);
      started.child.kill("SIGUSR1");
      expect(await started.result).toMatchObject({ end: 0, stdout: "ready\nready\ngot\ngot\n" });
    });

    test("ranks of a stopped launcher wait for it", async () => {
      const started = startLauncher([...REACH, "-H", "hosta", "sh", "-c", "while :; do echo tick; sleep 0.05; done"]);
      await started.waitForOutput("tick\n", 3);
      started.child.kill("SIGTSTP");
      await delay(4500); // longer than an agent bears silence
      started.child.kill("SIGCONT");
      const numTicks = started.stdout.length;
      while (started.stdout.length < numTicks + 20) await delay(10);
      started.child.kill("SIGTERM");
      expect(await started.result).toMatchObject({
        end: 1,
        stderr: "shardrun: SIGTERM received: the ranks were ended.\n",
      });
    });

    test("output that Ctrl-S holds up is there after Ctrl-Q", async () => {
      const count = "for i in $(seq 100); do echo line $i; sleep 0.03; done; echo last";
      const command = ["env", "LAUNCH_TEST_MARK=", process.execPath, COMMAND, ...REACH, "-H", "hosta,hostb"];
      const terminal = new PseudoTerminal([...command, "sh", "-c", count]);
      await terminal.waitFor("line 3");
      terminal.type(CTRL_S);
      await delay(4500); // longer than an agent bears silence
      expect(terminal.output).not.toContain("last");
      terminal.type(CTRL_Q);
      expect(await terminal.ended).toBe(0);
      expect(terminal.output.match(/last/g)).toHaveLength(2);
    });
  });

  describe("kill -9", () => {
    test("of a rank", async () => {
      const started = await startStubborn();
      const pid = await pidOn("hostb", "sh -c trap");
      process.kill(pid, "SIGKILL");
      const { end, stderr } = await started.result;
      expect(end).toBe(137);
      expect(stderr).toMatch(
        /^shardrun: process rank 1 with PID \d+ on host hostb exited on signal 9 \(Killed\); the other ranks were ended\.\n$/,
      );
      expect(started.processes()).toEqual([]);
    });

    test("of an agent", async () => {
      const started = await startStubborn();
      process.kill(await pidOn("hosta", "agent.js remote"), "SIGKILL");
      expect(await started.result).toMatchObject({
        end: 1,
        stderr:
          "shardrun: the connection to the agent of host hosta broke before its ranks had ended: " +
          "ssh exited with exit code 255; all ranks were ended.\n",
      });
      expect(await started.leftAfter(LIMIT_MS)).toEqual([]);
    });

    test("of the launcher", async () => {
      const started = await startStubborn();
      started.child.kill("SIGKILL");
      expect(await started.leftAfter(LIMIT_MS)).toEqual([]);
    });
  });

  test("a cut cable ends the run on both sides of it", async () => {
    const started = await startStubborn();
    const startMs = performance.now();
    cluster.partition("hostb");
    try {
      expect(await started.result).toMatchObject({
        end: 1,
        stderr:
          "shardrun: the connection to the agent of host hostb broke before its ranks had ended: " +
          "Timeout, server 198.18.77.2 not responding; all ranks were ended.\n",
      });
      expect(performance.now() - startMs).toBeLessThan(LIMIT_MS);
      expect(await leftOnHosts()).toEqual([]); // on hostb too, behind the cut
    } finally {
      cluster.heal("hostb");
    }
  });

  test("a run that ends does not wait for a host that is out of reach", async () => {
    const withoutKeepalives = ["--ssh-args", `-F ${join(directory, "ssh_config")} -o ServerAliveInterval=0`];
    const script = 'trap "exit 3" USR1; echo ready; while :; do sleep 0.05; done';
    const started = startLauncher([...REACH, ...withoutKeepalives, "-H", "hosta,hostb", "sh", "-c", script]);
    await started.waitForOutput("ready\n", 2);
    cluster.partition("hostb");
    try {
      await delay(1500);
      process.kill(await pidOn("hosta", "sh -c trap"), "SIGUSR1");
      const { end, stderr } = await started.result;
      expect(end).toBe(1);
      expect(stderr).toMatch(
        /^shardrun: the connection to the agent of host hostb broke before its ranks had ended: it had said nothing for \d+ ms; all ranks were ended\.\n$/,
      );
      expect(await leftOnHosts()).toEqual([]); // on hostb too, which misses its launcher
    } finally {
      cluster.heal("hostb");
    }
  });

  describe("a host that cannot take part: nothing runs anywhere", () => {
    const sshConfig = join(directory, "ssh_config");

    test("it has no route", async () => {
      const { end, stdout, stderr } = await run("-H", "hosta,hostx", "echo", "ran");
      expect({ end, stdout }).toEqual({ end: 1, stdout: "" });
      expect(stderr).toBe(
        'shardrun: Could not reach host "hostx" by ssh: ssh: connect to host 198.18.77.200 port 22: No route to host. ' +
          `Check that "ssh -F ${sshConfig} hostx true" succeeds without asking for anything: ` +
          "the host may be off, its sshd not running or at another port (port=N), or a firewall between.\n",
      );
    });

    test("nobody knows its name", async () => {
      const { end, stderr } = await run("-H", "hosta,nowhere.invalid", "echo", "ran");
      expect(end).toBe(1);
      expect(stderr).toMatch(
        /^shardrun: Could not reach host "nowhere\.invalid" by ssh: ssh: Could not resolve hostname .*\n$/,
      );
    });

    test("shardrun is not there", async () => {
      expect(await run("-H", "hosta", "--prefix", "/no/shardrun", "echo", "ran")).toMatchObject({
        end: 1,
        stdout: "",
        stderr:
          'shardrun: Host "hosta" has no shardrun in /no/shardrun. ' +
          "Install it there, say where it is on the other hosts with --prefix DIRECTORY, or have it copied there with --push.\n",
      });
    });

    test("another version of shardrun is there", async () => {
      const prefix = join(directory, "other");
      cpSync(join(ROOT, "dist"), join(prefix, "dist"), { recursive: true });
      const manifest = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { version: string };
      writeFileSync(join(prefix, "package.json"), JSON.stringify({ ...manifest, version: "9.9.9" }));
      expect(await run("-H", "localhost,hosta", "--prefix", prefix, "echo", "ran")).toMatchObject({
        end: 1,
        stdout: "",
        stderr:
          `shardrun: Host "hosta" has shardrun 9.9.9, this host has ${manifest.version}. ` +
          "Install the same version on both, say with --prefix DIRECTORY where it is there, or have it copied with --push.\n",
      });
    });

    test("its login scripts print", async () => {
      execFileSync("ssh", ["-F", sshConfig, "hosta", "mkdir -p ~/.ssh && echo 'echo Welcome to my host' > ~/.ssh/rc"]);
      const { end, stderr } = await run("-H", "hosta,hostb", "echo", "ran");
      execFileSync("ssh", ["-F", sshConfig, "hosta", "rm ~/.ssh/rc"]);
      expect({ end, stderr }).toEqual({
        end: 1,
        stderr:
          'shardrun: Host "hosta" answered ssh with "Welcome to my host\\n" instead of its agent\'s greeting. ' +
          'Its login scripts must print nothing when ssh runs a command: see that "ssh hosta true" is silent.\n',
      });
    });

    test("the working directory is not there", async () => {
      const { end, stderr } = await run("-H", "localhost,hosta", "--wdir", ROOT, "echo", "ran");
      expect({ end, stderr }).toEqual({ end: 0, stderr: "" });
      const here = dirname(cluster.sshConfigFile); // the hosts have a /run of their own
      expect(await run("-H", "localhost,hosta", "--wdir", here, "sleep", "600")).toMatchObject({
        end: 135,
        stderr:
          `shardrun: The working directory "${here}" does not exist on host hosta, or is not a directory. ` +
          "No rank was started. Create it, or give another one with --wdir.\n",
      });
    });
  });
});
