/**
 * Where the ranks of a run meet, from what the environment says: at the coordinator address that the launcher or the user gave,
 * else, on one host, through an address file that every rank finds by the run's id.
 */
import { lookup } from "node:dns/promises";
import { hostname, networkInterfaces } from "node:os";
import type { Environment } from "../environment.ts";
import { RendezvousError } from "../errors.ts";
import { addressFilePath, type CoordinatorAddress } from "./address-file.ts";
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
 * @throws {RendezvousError} when the ranks are on several hosts and nothing says where rank 0's coordinator is.
 */
export async function chooseMeetingPoint(environment: Environment): Promise<MeetingPoint> {
  const { identity, coordinator, secret } = environment;
  if (coordinator !== undefined && secret !== undefined) return { kind: "address", address: coordinator, secret };
  await requireOneHost(environment);
  const runId = environment.runId ?? describeParent();
  return { kind: "file", path: addressFilePath(identity.engine, runId, identity.worldSize), secret };
}

/** Ranks without any id of their run still share the process that started them. */
function describeParent(): string {
  return `parent ${process.ppid} ${readStartTime(process.ppid) ?? ""}`;
}

async function requireOneHost({ identity, masterAddress }: Environment): Promise<void> {
  const { rank, host, worldSize, localWorldSize, worldSizeSource, engine } = identity;
  if (localWorldSize < worldSize) {
    throw severalHosts(
      `${worldSizeSource} is "${worldSize}", but only ${localWorldSize} of these ranks are on this host`,
    );
  }
  if (engine === "torchrun" && masterAddress !== undefined && !(await isThisHost(masterAddress))) {
    throw severalHosts(`MASTER_ADDR is "${masterAddress}", which is not an address of this host`);
  }

  function severalHosts(finding: string): RendezvousError {
    return new RendezvousError(
      `Rank ${rank} (${host}) cannot find the other ranks: ${finding}. ` +
        "Without a shardrun launcher all ranks must be on one host for now: start them on one host.",
      { rank, host },
    );
  }
}

async function isThisHost(name: string): Promise<boolean> {
  if (name === "localhost" || name === hostname()) return true;
  const own = new Set(Object.values(networkInterfaces()).flatMap((list) => list?.map(({ address }) => address) ?? []));
  const addresses = await lookup(name, { all: true }).catch(() => []);
  return addresses.some(({ address }) => own.has(address) || address.startsWith("127."));
}
