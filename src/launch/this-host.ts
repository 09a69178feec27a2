/**
 * Which names and addresses mean the host we run on.
 */
import { hostname, networkInterfaces } from "node:os";

/** This host's name as messages and ranks call it. */
export function thisHostName(): string {
  return hostname();
}

/** True for localhost, this host's name (with or without domain) and the addresses of its interfaces. */
export function isThisHost(name: string): boolean {
  const lower = name.toLowerCase();
  const own = hostname().toLowerCase();
  if (lower === "localhost" || lower === own || lower === own.split(".")[0] || lower.split(".")[0] === own) return true;
  if (/^127(\.\d{1,3}){3}$/.test(lower)) return true;
  return Object.values(networkInterfaces()).some((addresses) => addresses?.some(({ address }) => address === lower));
}

/** One spelling for every name of the same host, as far as can be told without asking the network. */
export function canonicalHostName(name: string): string {
  return isThisHost(name) ? hostname().toLowerCase() : name.toLowerCase();
}

/** Groups what is said about the same host, in the order in which the hosts are first named. */
export function groupByHost<T extends { readonly name: string }>(
  items: readonly T[],
): readonly (readonly [T, ...T[]])[] {
  const groups = new Map<string, [T, ...T[]]>();
  for (const item of items) {
    const host = canonicalHostName(item.name);
    const group = groups.get(host);
    if (group === undefined) groups.set(host, [item]);
    else group.push(item);
  }
  return [...groups.values()];
}
