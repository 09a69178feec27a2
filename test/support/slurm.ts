/**
 * A Slurm of the hosts of a test cluster: its controller on the first, a daemon on each, without authentication, as nobody else is on
 * these hosts. Everything ends with the cluster.
 */
import { spawnSync } from "node:child_process";
import type { Cluster, ClusterHost, HostResult } from "./cluster.ts";

/** Where the daemons keep their files on each host. */
const DIRECTORY = "/tmp/slurm";
/** slurmd looks for control groups, although it is told to use none. */
const MOUNT_CONTROL_GROUPS =
  "mount -t tmpfs none /sys/fs/cgroup && mkdir /sys/fs/cgroup/systemd && " +
  "mount -t cgroup -o none,name=systemd none /sys/fs/cgroup/systemd";
const START_LIMIT_MS = 30_000;

/** Why there is no srun; undefined when there is. */
export function whyNoSlurm(): string | undefined {
  const missing = ["srun", "slurmctld", "slurmd"].filter((program) => spawnSync(program, ["-V"]).error !== undefined);
  if (missing.length > 0) return `needs ${missing.join(", ")} (Debian: slurm-wlm)`;
  const { status, stderr } = spawnSync("unshare", ["--mount", "sh", "-c", MOUNT_CONTROL_GROUPS], { encoding: "utf8" });
  return status === 0 ? undefined : `slurmd needs control groups: ${stderr.trim()}`;
}

/** Starts Slurm; runs `srun ARGS` on the first host to its end, without its words about queueing. */
export async function startSlurm(
  cluster: Cluster,
  slotsPerHost: number,
): Promise<(args: readonly string[], variables?: readonly string[]) => Promise<HostResult>> {
  const [first] = cluster.hosts as readonly [ClusterHost];
  const configuration = [
    "ClusterName=shardrun",
    `SlurmctldHost=${first.name}`,
    ...["AuthType=auth/none", "CredType=cred/none", "SlurmUser=root", "SlurmdUser=root", "MpiDefault=none"],
    ...[`StateSaveLocation=${DIRECTORY}`, `SlurmdSpoolDir=${DIRECTORY}`],
    ...[`SlurmctldPidFile=${DIRECTORY}/slurmctld.pid`, `SlurmdPidFile=${DIRECTORY}/slurmd.pid`],
    ...["ProctrackType=proctrack/linuxproc", "TaskPlugin=task/none", "SlurmdParameters=config_overrides"],
    ...cluster.hosts.map(
      ({ name, address }) => `NodeName=${name} NodeAddr=${address} CPUs=${slotsPerHost} State=UNKNOWN`,
    ),
    "PartitionName=all Nodes=ALL Default=YES State=UP",
  ].join("\n");
  const on = (host: string, script: string) => cluster.run(host, ["sh", "-c", script]);
  const environment = `SLURM_CONF=${DIRECTORY}/slurm.conf`;
  for (const { name } of cluster.hosts) {
    const daemons = name === first.name ? ["slurmctld", "slurmd"] : ["slurmd"];
    const starts = daemons.map(
      (daemon) => `${environment} setsid ${daemon} -D </dev/null >${DIRECTORY}/${daemon}.log 2>&1 &`,
    );
    await on(
      name,
      `${MOUNT_CONTROL_GROUPS}; mkdir -p ${DIRECTORY}; printf '%s' '${configuration}' > ${DIRECTORY}/slurm.conf; ${starts.join(" ")}`,
    );
  }
  const deadline = performance.now() + START_LIMIT_MS;
  const isIdle = async () =>
    (await on(first.name, `${environment} sinfo -h -o '%D %t'`)).stdout.trim() === `${cluster.hosts.length} idle`;
  while (!(await isIdle())) {
    if (performance.now() < deadline) continue;
    throw new Error(`Slurm did not start: ${(await on(first.name, `cat ${DIRECTORY}/*.log`)).stdout}`);
  }
  return (args, variables = []) =>
    cluster.run(first.name, ["env", environment, ...variables, "srun", "--quiet", ...args]);
}
