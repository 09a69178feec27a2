/**
 * The hosts of a run and how many ranks each has room for: from -hostfile, -H, or neither (this host with its cores).
 */
import { isIPv6 } from "node:net";
import { LaunchError, UsageError } from "../errors.ts";
import { type HostfileHost, readHostfile } from "./hostfile.ts";
import { canonicalHostName, groupByHost, isThisHost, thisHostName } from "./this-host.ts";

/** A host that takes part, with its slots: how many ranks it has room for. */
export interface Host {
  readonly name: string;
  readonly slots: number;
}

/** Where the hosts are named. */
export interface HostSources {
  /** Path of a hostfile. */
  readonly hostfile?: string;
  /** The values of -H, e.g. "a:2,b". */
  readonly hostLists: readonly string[];
}

/**
 * The hosts of a run. With both a hostfile and -H, the hosts and slots of -H, which must be in the hostfile.
 * @param numCores of this host: its slots where none are given
 * @throws {HostfileError} when the hostfile cannot be used
 * @throws {UsageError} when -H cannot be understood, or names a host that the hostfile does not have
 * @throws {LaunchError} when another host than this one is named
 */
export function chooseHosts(sources: HostSources, numCores: number): readonly Host[] {
  const fromFile = sources.hostfile === undefined ? undefined : readHostfile(sources.hostfile);
  const fromLists = sources.hostLists.flatMap((list) => parseHostList(list));
  if (fromFile !== undefined) requireInHostfile(fromLists, fromFile, sources.hostfile!);
  const named: readonly NamedHost[] = fromLists.length > 0 ? mergeNamed(fromLists) : (fromFile ?? []);
  for (const host of named) requireThisHost(host);
  if (named.length === 0) return [{ name: thisHostName(), slots: numCores }];
  return named.map(({ slots }) => ({ name: thisHostName(), slots: slots ?? numCores }));
}

interface NamedHost {
  readonly name: string;
  /** Undefined: as many as the host has cores. */
  readonly slots?: number;
  /** "hosts:3:1" or "-H". */
  readonly place: string;
}

/** Understands the value of -H: names, each with ":slots", ":*" (all cores) or nothing (one slot). */
function parseHostList(list: string): readonly NamedHost[] {
  return list.split(",").map((item) => {
    const match = isIPv6(item)
      ? { name: item, slots: undefined }
      : /^(?:[^@\s]+@)?(?<name>\[[^\]\s]+\]|[^:@\s[\]]+)(?::(?<slots>\*|[1-9][0-9]{0,5}))?$/.exec(item)?.groups;
    if (match === undefined) {
      throw new UsageError(
        `-H expects host names with their slots, e.g. -H hosta:2,hostb:4 (an IPv6 address in brackets), received "${item}".`,
      );
    }
    const slots = match.slots === "*" ? undefined : Number(match.slots ?? 1);
    return { name: match.name.replace(/^\[(.*)\]$/, "$1"), slots, place: "-H" };
  });
}

/** A host that is named several times has the sum of its slots. */
function mergeNamed(hosts: readonly NamedHost[]): readonly NamedHost[] {
  return groupByHost(hosts).map((same) => ({
    ...same[0],
    slots: same.some(({ slots }) => slots === undefined) ? undefined : same.reduce((sum, host) => sum + host.slots!, 0),
  }));
}

function requireInHostfile(hosts: readonly NamedHost[], fromFile: readonly HostfileHost[], path: string): void {
  const known = new Set(fromFile.map(({ name }) => canonicalHostName(name)));
  const unknown = hosts.find(({ name }) => !known.has(canonicalHostName(name)));
  if (unknown === undefined) return;
  throw new UsageError(
    `-H names the host "${unknown.name}", which the hostfile "${path}" does not have. ` +
      `It has ${fromFile.map(({ name }) => name).join(", ")}. Add the host to the hostfile, or leave out one of the two options.`,
  );
}

function requireThisHost({ name, place }: NamedHost): void {
  if (isThisHost(name)) return;
  throw new LaunchError(
    `Host "${name}" (${place}) is not this host (${thisHostName()}), and several hosts are not there yet: ` +
      `all ranks must run here for now. Use localhost, or start the ranks with mpirun, srun or torchrun.`,
    { host: name },
  );
}
