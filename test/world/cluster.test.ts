/** The cluster that tests of several hosts stand on: what it promises about hosts, their files, their cables and its end. */
import { execFileSync } from "node:child_process";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { type Cluster, CLUSTER_START_LIMIT_MS, describeWithCluster, startCluster } from "../support/cluster.ts";

/** Listens on its port 4000, answers each connection's bytes with their number, then ends. */
const RECEIVER = `
  const server = require("net").createServer({ allowHalfOpen: true }, (socket) => {
    let received = 0;
    socket.on("data", (bytes) => (received += bytes.length)).on("end", () => socket.end(String(received)));
    server.close();
  });
  server.listen(4000, "0.0.0.0", () => console.log("listening"));
  setTimeout(() => process.exit(1), 20000).unref();`;
/** Sends so many bytes to a host; prints its answer, and how long that took in ms. */
const SENDER = `
  const [host, numBytes] = process.argv.slice(1);
  const startMs = performance.now();
  const socket = require("net").connect(4000, host, () => socket.end(Buffer.alloc(Number(numBytes))));
  socket.on("data", (text) => console.log(String(text), performance.now() - startMs));
  socket.on("error", (error) => { console.log(error.code); process.exit(1); });`;

/** Bytes that `from` sent `to`, and how long that took; undefined when there was no answer within `limitMs`. */
async function sendBytes(cluster: Cluster, from: string, to: string, numBytes: number, limitMs = 20_000) {
  const receiver = cluster.run(to, [process.execPath, "-e", RECEIVER]);
  // Port 4000, from anywhere, listening.
  while (!/:0FA0 00000000:0000 0A/.test((await cluster.run(to, ["cat", "/proc/net/tcp"])).stdout)) continue;
  const limit = ["timeout", String(limitMs / 1000)];
  const { stdout } = await cluster.run(from, [...limit, process.execPath, "-e", SENDER, to, String(numBytes)]);
  for (const { pid, command } of cluster.processes(to)) if (command.includes("listen(4000")) process.kill(pid);
  await receiver;
  if (stdout === "") return undefined;
  const [received, elapsedMs] = stdout.split(" ").map(Number);
  return { received: received!, elapsedMs: elapsedMs! };
}

describeWithCluster("a cluster of three hosts", () => {
  let cluster: Cluster;
  beforeAll(async () => {
    cluster = await startCluster({ numHosts: 3 });
  }, CLUSTER_START_LIMIT_MS);
  afterAll(() => cluster.stop());
  const pairs = ["hosta", "hostb", "hostc"].flatMap((from, _, all) => all.map((to) => [from, to] as const));

  test("names and addresses", async () => {
    expect(cluster.hosts).toEqual([
      { name: "hosta", address: "198.18.77.1" },
      { name: "hostb", address: "198.18.77.2" },
      { name: "hostc", address: "198.18.77.3" },
    ]);
    for (const { name } of cluster.hosts) {
      expect(await cluster.run(name, ["hostname"])).toEqual({ exitCode: 0, stdout: `${name}\n`, stderr: "" });
    }
  });

  test.each(pairs)("%s reaches %s by ssh", async (from, to) => {
    const result = await cluster.run(from, ["ssh", to, "hostname; echo $HOME; node --version; exit 3"]);
    const stdout = `${to}\n/home/shardrun\n${process.version}\n`;
    expect(result).toEqual({ exitCode: 3, stdout, stderr: "" });
  });

  test("this machine reaches them by ssh with the configuration file", () => {
    for (const { name } of cluster.hosts) {
      const stdout = execFileSync("ssh", ["-F", cluster.sshConfigFile, name, "hostname"], { encoding: "utf8" });
      expect(stdout).toBe(`${name}\n`);
    }
  });

  test.each(pairs)("%s reaches %s by TCP", async (from, to) => {
    expect((await sendBytes(cluster, from, to, 100_000))?.received).toBe(100_000);
  });

  test("the world outside is not reached", async () => {
    const { stdout } = await cluster.run("hosta", ["ip", "route"]);
    expect(stdout.trim()).toBe("198.18.77.0/24 dev eth0 proto kernel scope link src 198.18.77.1");
  });

  test("what a host writes is on no other host, nor on this machine", async () => {
    const files = ["/tmp", "/dev/shm", "/run", "/home/shardrun", "/var/tmp", "/usr/lib"].map(
      (path) => `${path}/of-hosta`,
    );
    expect((await cluster.run("hosta", ["touch", ...files])).exitCode).toBe(0);
    const list = ["sh", "-c", `ls ${files.join(" ")} 2>/dev/null | wc -l`];
    expect((await cluster.run("hosta", list)).stdout.trim()).toBe(String(files.length));
    expect((await cluster.run("hostb", list)).stdout.trim()).toBe("0");
    expect(execFileSync(list[0]!, list.slice(1), { encoding: "utf8" }).trim()).toBe("0");
  });

  test("the checkout is there, and cannot be written", async () => {
    const { stdout } = await cluster.run("hostb", ["node", "dist/cli.js", "--version"]);
    expect(stdout).toMatch(/\d+\.\d+\.\d+/);
    const { exitCode, stderr } = await cluster.run("hostb", ["touch", "dist/of-hostb"]);
    expect([exitCode, stderr]).toEqual([1, expect.stringContaining("Read-only file system")]);
  });

  test("processes of a host are those of that host", async () => {
    const sleeping = cluster.run("hostb", ["sleep", "1234"]);
    const isSleeping = () => cluster.processes("hostb").some(({ command }) => command === "sleep 1234");
    while (!isSleeping()) await cluster.run("hosta", ["true"]);
    const [{ pid, command }, ...others] = cluster.processes("hostb") as [{ pid: number; command: string }];
    expect([command, others, cluster.processes("hosta")]).toEqual(["sleep 1234", [], []]);
    process.kill(pid, "SIGKILL");
    expect((await sleeping).exitCode).toBe(137);
    expect(cluster.processes("hostb")).toEqual([]);
  });

  test("a pulled cable cuts a host off at once, without a reset, until it is put back", async () => {
    cluster.partition("hostb");
    expect(await sendBytes(cluster, "hosta", "hostb", 1, 1000)).toBeUndefined();
    expect(await sendBytes(cluster, "hostb", "hostc", 1, 1000)).toBeUndefined();
    expect((await sendBytes(cluster, "hosta", "hostc", 1))?.received).toBe(1);
    cluster.heal("hostb");
    expect((await sendBytes(cluster, "hosta", "hostb", 1))?.received).toBe(1);
  });

  test("two hosts are cut off from each other, and from nobody else", async () => {
    cluster.partition("hostb", "hostc");
    expect(await sendBytes(cluster, "hostb", "hostc", 1, 1000)).toBeUndefined();
    expect(await sendBytes(cluster, "hostc", "hostb", 1, 1000)).toBeUndefined();
    expect((await sendBytes(cluster, "hosta", "hostb", 1))?.received).toBe(1);
    expect((await sendBytes(cluster, "hosta", "hostc", 1))?.received).toBe(1);
    cluster.heal("hostb", "hostc");
    expect((await sendBytes(cluster, "hostb", "hostc", 1))?.received).toBe(1);
  });

  test.each([
    ["sends", "hosta", "hostb"],
    ["receives", "hostb", "hosta"],
  ] as const)("what a host %s is limited", async (_, from, to) => {
    cluster.limitRate("hosta", 100);
    const limited = await sendBytes(cluster, from, to, 12_500_000); // one second
    cluster.limitRate("hosta", 0);
    const free = await sendBytes(cluster, from, to, 12_500_000);
    expect(limited!.elapsedMs).toBeGreaterThan(950);
    expect(limited!.elapsedMs).toBeLessThan(1500);
    expect(free!.elapsedMs).toBeLessThan(limited!.elapsedMs / 2);
  });

  test("a host that there is not", async () => {
    await expect(cluster.run("hostz", ["true"])).rejects.toThrow("no host hostz: there are hosta, hostb, hostc");
  });
});

describeWithCluster("the end of a cluster", () => {
  test(
    "nothing is left, whatever ran on it; a second one waits for the first",
    async () => {
      const first = await startCluster({ numHosts: 2 });
      const sleeping = first.run("hosta", ["sh", "-c", "trap '' TERM HUP; sleep 1234"]);
      const started = startCluster({ numHosts: 1 });
      expect(first.parts()).toMatch(/^shardrun-hostb\b/m);
      await first.stop();
      expect((await sleeping).exitCode).not.toBe(0);
      const second = await started;
      expect(second.hosts.map(({ name }) => name)).toEqual(["hosta"]);
      expect(second.found).toBe("");
      await second.stop();
    },
    CLUSTER_START_LIMIT_MS,
  );
});
