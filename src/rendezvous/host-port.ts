/** The form of network addresses, as gRPC and SHARDRUN_COORDINATOR write them: "host:port", "[IPv6]:port". */
import { isIPv6 } from "node:net";

/** An IPv6 address is put in brackets. */
export function joinHostPort(host: string, port: number): string {
  return isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`;
}

/** The host comes without brackets. */
export function splitHostPort(address: string): { host: string; port: number } {
  const colon = address.lastIndexOf(":");
  return { host: address.slice(0, colon).replace(/^\[(.*)\]$/, "$1"), port: Number(address.slice(colon + 1)) };
}

/** Whether an IP address reaches this host only. */
export function isLoopback(address: string): boolean {
  return address === "::1" || address.startsWith("127.");
}
