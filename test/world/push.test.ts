/** --push on real hosts: a copy is made once, is whole or absent, takes the place of old ones, and runs where nothing of this checkout is to be seen. */
import { mkdirSync, symlinkSync } from "node:fs";
import { dirname, join } from "node:path";
import { execFileSync } from "node:child_process";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { type Cluster, CLUSTER_START_LIMIT_MS, describeWithCluster, startCluster } from "../support/cluster.ts";
import { runLauncher, type RunSettings } from "../support/launcher.ts";
import { COMMAND, runNode } from "../support/run-shardrun.ts";
import { useTemporaryDirectory } from "../support/temporary-directory.ts";

const ROOT = join(import.meta.dirname, "../..");
const MODEL = join(ROOT, "models/demo-stories");
const COPIES = "/home/shardrun/.cache/shardrun/installations";
const COPYING = /^shardrun: copying shardrun \d+\.\d+\.\d+-[0-9a-f]{16} \(\d+ MiB\) to host (host[ab])\.$/;

const directory = useTemporaryDirectory();

describeWithCluster("--push", () => {
  let cluster: Cluster;
  beforeAll(async () => {
    cluster = await startCluster({ numHosts: 2 });
  }, CLUSTER_START_LIMIT_MS);
  afterAll(() => cluster.stop());

  function push(args: readonly string[], settings?: RunSettings) {
    return runLauncher(["--ssh-args", `-F ${cluster.sshConfigFile}`, "--push", ...args], settings);
  }

  async function on(host: string, script: string): Promise<string> {
    const { stdout, stderr } = await cluster.run(host, ["sh", "-c", script]);
    expect(stderr).toBe("");
    return stdout.trim();
  }

  /** What a refused copy is told, after the line that announces it; and that nothing of it is left on the host. */
  async function refusal(settings?: RunSettings): Promise<string> {
    const { end, stdout, stderr } = await push(["-H", "hosta", "echo", "ran"], settings);
    expect([end, stdout]).toEqual([1, ""]);
    expect(await on("hosta", `ls ${COPIES} 2>/dev/null || true`)).toBe("");
    return stderr
      .split("\n")
      .filter((line) => line !== "" && !COPYING.test(line))
      .join("\n");
  }

  const FAILED = 'shardrun: Could not copy shardrun to host "hosta": ';

  test("a host of another kind", async () => {
    const [own, away] = ["/usr/bin/uname", "/usr/bin/uname.away"];
    await on("hosta", `mv ${own} ${away}; printf '#!/bin/sh\\necho Linux riscv64\\n' > ${own}; chmod +x ${own}`);
    const machine = execFileSync("uname", ["-sm"], { encoding: "utf8" }).trim();
    expect(await refusal()).toBe(
      `${FAILED}it is a Linux riscv64, this installation is built for ${machine}. ` +
        "Install shardrun there with npm, and say with --prefix DIRECTORY where.",
    );
    await on("hosta", `mv ${away} ${own}`);
  });

  test("no tar there, and none here", async () => {
    await on("hosta", "mv /usr/bin/tar /usr/bin/tar.away");
    expect(await refusal()).toBe(`${FAILED}there is no tar. Install it there.`);
    await on("hosta", "mv /usr/bin/tar.away /usr/bin/tar");

    const path = join(directory, "bin");
    mkdirSync(path);
    for (const name of ["ssh", "sh"]) {
      symlinkSync(execFileSync("sh", ["-c", `command -v ${name}`], { encoding: "utf8" }).trim(), join(path, name));
    }
    expect(await refusal({ environment: { PATH: path } })).toBe(
      `${FAILED}reading this installation in ${ROOT} failed. ` +
        "Check that tar is installed here, and that nothing changes the installation meanwhile.",
    );
  });

  test("no room there", async () => {
    await on("hosta", "mkdir -p ~/.cache; mount -t tmpfs -o size=1m none ~/.cache");
    expect(
      (await refusal())
        .replace(/: tar: \S+: (Wrote only|Cannot write).*?\. Make/, ": tar: ... Make")
        .replace(/\d+ MiB/, "N MiB"),
    ).toBe(
      `${FAILED}tar: ... Make room for N MiB in its ~/.cache, or let SHARDRUN_CACHE name another directory there.`,
    );
    await on("hosta", "umount ~/.cache");
  });

  test("no way there", async () => {
    const { end, stderr } = await push(["-H", "nowhere.invalid", "true"]);
    expect(end).toBe(1);
    expect(stderr).toMatch(
      /^shardrun: Could not reach host "nowhere\.invalid" by ssh: ssh: Could not resolve hostname /,
    );
  });

  test("the copy is made once, and agents run from it", async () => {
    // What earlier versions left on hosta: from one of them a run still goes on, another may be about to.
    const old = Object.entries({
      a: "6 days",
      b: "5 days",
      running: "4 days",
      asked: "30 minutes",
      c: "3 days",
      d: "2 days",
    });
    for (const [name, age] of old) {
      await on("hosta", `mkdir -p ${COPIES}/${name}/dist/launch; touch -d '${age} ago' ${COPIES}/${name}`);
    }
    const agent = `${COPIES}/running/dist/launch/agent.js`;
    await on("hosta", `echo 'read -r line < /tmp/ends' > ${agent}; touch -d '4 days ago' ${COPIES}/running`);
    await on("hosta", `mkfifo /tmp/ends; sh ${agent} </dev/null >/dev/null 2>&1 &`);

    const agents = ["-H", "hosta,hostb", "sh", "-c", "tr '\\0' ' ' < /proc/$PPID/cmdline; echo"];
    const first = await push(agents);
    expect(first.end).toBe(0);
    const lines = first.stderr.trim().split("\n");
    expect(lines.map((line) => COPYING.exec(line)?.[1]).toSorted()).toEqual(["hosta", "hostb"]);
    const [name] = /\d+\.\d+\.\d+-[0-9a-f]{16}/.exec(first.stderr)!;
    for (const line of first.stdout.trim().split("\n")) {
      expect(line).toContain(` ${COPIES}/${name}/dist/launch/agent.js remote`);
    }
    expect(await on("hostb", `ls ${COPIES}`)).toBe(name);
    const left = await on("hosta", `ls ${COPIES}`);
    expect(left.split("\n").toSorted()).toEqual([name, "asked", "d", "running"]); // d: the third that was used last
    await on("hosta", "echo > /tmp/ends");
    const second = await push(agents);
    expect(second).toMatchObject({ end: 0, stdout: first.stdout, stderr: "" });
    expect((await on("hosta", `ls ${COPIES}`)).split("\n").toSorted()).toEqual([name, "asked", "d"]);
  });

  test("a ready-made program runs on hosts that have nothing of this checkout but a model, from any directory", async () => {
    await on(
      "hostb",
      `cp -r ${MODEL} /tmp/model; mount -t tmpfs none ${ROOT}; mkdir -p ${dirname(MODEL)}; mv /tmp/model ${MODEL}`,
    );
    try {
      expect(await on("hostb", `find ${ROOT} -name '*.js'`)).toBe("");
      const options = ["--model", MODEL, "--prompt", "Once upon a time", "--max-length", "24", "--json"];
      const reach = ["--ssh-args", `-F ${cluster.sshConfigFile}`, "--push", "-np", "2", "-H", "localhost,hostb"];
      const elsewhere = { workingDirectory: dirname(cluster.sshConfigFile) }; // the hosts have a /run of their own
      const several = await runLauncher(["generate", ...reach, ...options], elsewhere);
      const one = await runNode([COMMAND, "generate", "-np", "1", ...options]);
      const { ids } = JSON.parse(one.stdout) as { ids: number[] };
      expect(ids.length).toBeGreaterThan(16);
      expect(JSON.parse(several.stdout)).toMatchObject({ ids });
      expect((await push(["-H", "hostb", "pwd"], elsewhere)).stdout).toBe("/home/shardrun\n");
    } finally {
      await on("hostb", `cd /; umount -l ${ROOT}`);
    }
  });
});
