/**
 * Where the ranks of a run meet, from what the environment says: at the coordinator address that the launcher or the user gave;
 * else, on one host, through an address file that every rank finds by the run's id; on several, where torchrun's convention
 * says that rank 0 is.
 */
import { lookup } from "node:dns/promises";
import { hostname, networkInterfaces } from "node:os";
import type { Environment } from "../environment.ts";
import { RendezvousError } from "../errors.ts";
import { addressFilePath, type CoordinatorAddress } from "./address-file.ts";
import { isLoopback, joinHostPort } from "./host-port.ts";
import { readStartTime } from "./process-identity.ts";

export type MeetingPoint =
  | ({ readonly kind: "address" } & CoordinatorAddress)
  | {
      readonly kind: "file";
      readonly path: string;
      /** The run's secret where it is known beforehand; else rank 0 makes one up and the file carries it. */
      readonly secret: Uint8Array | undefined;
    };

/**
 * Decides where this rank looks for rank 0.
 * @throws {RendezvousError} when the ranks are on several hosts and nothing says where rank 0's coordinator is, or what it wants
 * proved.
 */
export async function chooseMeetingPoint(environment: Environment): Promise<MeetingPoint> {
  const { identity, coordinator, secret, masterAddress, masterPort } = environment;
  if (coordinator !== undefined && secret !== undefined) return { kind: "address", address: coordinator, secret };
  const finding = await findOtherHosts(environment);
  if (finding === undefined) {
    const runId = environment.runId ?? describeParent();
    return { kind: "file", path: addressFilePath(identity.engine, runId, identity.worldSize), secret };
  }
  if (masterAddress === undefined || masterPort === undefined) throw lacksAddress(environment, finding);
  if (secret === undefined) throw lacksSecret(environment, finding);
  return { kind: "address", address: joinHostPort(masterAddress, masterPort), secret };
}

/** Ranks without any id of their run still share the process that started them. */
function describeParent(): string {
  return `parent ${process.ppid} ${readStartTime(process.ppid) ?? ""}`;
}

/** In words, by what the ranks are known to be on several hosts; undefined: they are on this one. */
async function findOtherHosts(environment: Environment): Promise<string | undefined> {
  const { hosts, masterAddress, masterPort, secret } = environment;
  const { engine, worldSize, localWorldSize, worldSizeSource } = environment.identity;
  if (hosts === "several") {
    return `${worldSizeSource} is "${worldSize}", but only ${localWorldSize} of these ranks are on this host`;
  }
  if (hosts === "one" || engine !== "torchrun" || masterAddress === undefined) return undefined;
  const reach = await findReach(masterAddress);
  if (reach === "elsewhere") return `MASTER_ADDR is "${masterAddress}", which is not an address of this host`;
  // Who started the ranks by hand, at an address that others can reach and with a secret, means others to come.
  const isPrepared = reach === "this host" && masterPort !== undefined && secret !== undefined;
  return isPrepared ? `MASTER_ADDR is "${masterAddress}", which other hosts can reach` : undefined;
}

async function findReach(name: string): Promise<"loopback" | "this host" | "elsewhere"> {
  if (name === "localhost") return "loopback";
  const own = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  const addresses = (await lookup(name, { all: true }).catch(() => [])).map(({ address }) => address);
  if (addresses.some(isLoopback)) return "loopback";
  return name === hostname() || own.some(({ address }) => addresses.includes(address)) ? "this host" : "elsewhere";
}

const SAME_SECRET =
  "SHARDRUN_SECRET to the same 64 hexadecimal digits (openssl rand -hex 32) for every rank; " +
  "mpirun hands variables on with -x NAME, srun by itself.";

function lacksAddress({ identity: { rank, host } }: Environment, finding: string): RendezvousError {
  return new RendezvousError(
    `Rank ${rank} (${host}) cannot find the other ranks: ${finding}, and nothing says where rank 0 is. ` +
      `Set SHARDRUN_COORDINATOR to an address of rank 0's host and a free port there (host:port) and ${SAME_SECRET}`,
    { rank, host },
  );
}

function lacksSecret({ identity: { rank, host } }: Environment, finding: string): RendezvousError {
  return new RendezvousError(
    `Rank ${rank} (${host}) cannot join ranks on other hosts without the run's secret: ${finding}. Set ${SAME_SECRET}`,
    { rank, host },
  );
}
