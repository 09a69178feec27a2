/**
 * At which address of this host the other ranks reach this one. The meeting point and what the user says come in; out comes the
 * one address to listen on: loopback, unless another host takes part.
 */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { lookup } from "node:dns/promises";
import { isIP, isIPv6 } from "node:net";
import { networkInterfaces } from "node:os";
import type { Environment } from "../environment.ts";
import { RendezvousError, UsageError } from "../errors.ts";
import { isLoopback, splitHostPort } from "./host-port.ts";
import type { MeetingPoint } from "./meeting-point.ts";

const LOOPBACK = "127.0.0.1";

/**
 * The address of the interface that SHARDRUN_INTERFACE names, else of the one that leads to rank 0.
 * @throws {UsageError} when this host has no such interface
 * @throws {RendezvousError} when there is no way to rank 0, or its name means loopback where it runs
 */
export async function chooseOwnAddress(environment: Environment, meetingPoint: MeetingPoint): Promise<string> {
  if (meetingPoint.kind === "file" || environment.hosts === "one") return LOOPBACK;
  const { host, port } = splitHostPort(meetingPoint.address);
  if (environment.networkInterface !== undefined) return findInterface(environment, host);
  const { rank, host: ownHost } = environment.identity;
  const { remote, local } = await findRoute(host, port).catch((cause: Error) => {
    throw new RendezvousError(
      `Rank ${rank} (${ownHost}) finds no way to rank 0 at ${meetingPoint.address}: ${cause.message}. ` +
        "Check the address, or name the interface to use in SHARDRUN_INTERFACE.",
      { rank, host: ownHost, cause },
    );
  });
  if (environment.hosts === "several" && isLoopback(local) && host !== "localhost" && isIP(host) === 0) {
    throw new RendezvousError(
      `Rank ${rank} (${ownHost}) cannot be reached by other hosts: rank 0 is to listen at ${meetingPoint.address}, ` +
        `but on this host the name ${host} means ${remote} (see /etc/hosts). Name rank 0's host by its address.`,
      { rank, host: ownHost },
    );
  }
  return local;
}

/** Connecting a UDP socket sends nothing: the system only chooses the way. */
async function findRoute(host: string, port: number): Promise<{ remote: string; local: string }> {
  const { address: remote, family } = await lookup(host);
  const socket = createSocket(family === 6 ? "udp6" : "udp4");
  try {
    socket.connect(port, remote);
    await once(socket, "connect"); // rejects with the socket's 'error'
    return { remote, local: socket.address().address };
  } finally {
    socket.close();
  }
}

/** By name the address of the same kind as rank 0's, as far as the interface has one. */
function findInterface({ networkInterface: wanted, identity }: Environment, rootHost: string): string {
  const interfaces = Object.entries(networkInterfaces()).map(([name, list]) => ({
    name,
    addresses: (list ?? []).map(({ address }) => address),
  }));
  const named = interfaces.find(({ name }) => name === wanted)?.addresses;
  const address = named?.find((each) => isIPv6(each) === isIPv6(rootHost)) ?? named?.[0];
  if (address !== undefined) return address;
  if (interfaces.some(({ addresses }) => addresses.includes(wanted!))) return wanted!;
  const known = interfaces.map(({ name, addresses }) => `${name} (${addresses.join(", ")})`).join(", ");
  throw new UsageError(
    `SHARDRUN_INTERFACE is "${wanted}" on rank ${identity.rank} (${identity.host}): expected the name or an address of one ` +
      `of this host's interfaces: ${known}.`,
  );
}
