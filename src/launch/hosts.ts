/**
 * The hosts of a run and how many ranks each has room for: from -hostfile, -H, or neither (this host with its cores).
 */
import { isIPv6 } from "node:net";
import { UsageError } from "../errors.ts";
import { type HostfileHost, readHostfile } from "./hostfile.ts";
import type { HostSettings } from "./hostfile-settings.ts";
import type { SshTarget } from "./ssh.ts";
import { canonicalHostName, groupByHost, isThisHost, thisHostName } from "./this-host.ts";

/** A host that takes part, with its slots: how many ranks it has room for. */
export interface Host {
  readonly name: string;
  readonly slots: number;
}

/** A host that was named, before its agent was asked, and what its ranks are to have of model and devices. */
export interface NamedHost extends Pick<HostSettings, "weight" | "devices"> {
  readonly name: string;
  /** Undefined: as many as the host has cores, which only its agent knows. */
  readonly slots?: number;
  /** How it is reached; undefined: it is this host. */
  readonly ssh?: SshTarget;
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
 */
export function chooseHosts(sources: HostSources, numCores: number): readonly NamedHost[] {
  const fromFile = sources.hostfile === undefined ? undefined : readHostfile(sources.hostfile);
  const fromLists = sources.hostLists.flatMap((list) => parseHostList(list));
  if (fromFile !== undefined) requireInHostfile(fromLists, fromFile, sources.hostfile!);
  const chosen = fromLists.length > 0 ? mergeListed(fromLists, fromFile ?? []) : (fromFile ?? []);
  if (chosen.length === 0) return [{ name: thisHostName(), slots: numCores }];
  return chosen.map(({ name, slots, user, port, weight, devices }) =>
    isThisHost(name)
      ? { name: thisHostName(), slots: slots ?? numCores, weight, devices }
      : { name, slots, weight, devices, ssh: { name, user, port } },
  );
}

interface ListedHost {
  readonly name: string;
  readonly user?: string;
  /** Undefined: as many as the host has cores. */
  readonly slots?: number;
}

/** Understands the value of -H: names, each with ":slots", ":*" (all cores) or nothing (one slot). */
function parseHostList(list: string): readonly ListedHost[] {
  return list.split(",").map((item) => {
    const match = isIPv6(item)
      ? { name: item, user: undefined, slots: undefined }
      : /^(?:(?<user>[^@\s]+)@)?(?<name>\[[^\]\s]+\]|(?!-)[^:@\s[\]]+)(?::(?<slots>\*|[1-9][0-9]{0,5}))?$/.exec(item)
          ?.groups;
    // What begins with a dash would be an option of ssh.
    if (match === undefined || item.startsWith("-")) {
      throw new UsageError(
        `-H expects host names with their slots, e.g. -H hosta:2,hostb:4 (an IPv6 address in brackets), received "${item}".`,
      );
    }
    const slots = match.slots === "*" ? undefined : Number(match.slots ?? 1);
    return { name: match.name.replace(/^\[(.*)\]$/, "$1"), user: match.user, slots };
  });
}

/** A host that is named several times has the sum of its slots; a hostfile knows how it is reached. */
function mergeListed(hosts: readonly ListedHost[], fromFile: readonly HostfileHost[]): readonly HostfileHost[] {
  return groupByHost(hosts).map((same) => {
    const [{ name, user }] = same;
    const known = fromFile.find((host) => canonicalHostName(host.name) === canonicalHostName(name));
    const takesAllCores = same.some(({ slots }) => slots === undefined);
    const slots = takesAllCores ? undefined : same.reduce((sum, host) => sum + host.slots!, 0);
    return { ...known, name, slots, user: user ?? known?.user };
  });
}

function requireInHostfile(hosts: readonly ListedHost[], fromFile: readonly HostfileHost[], path: string): void {
  const known = new Set(fromFile.map(({ name }) => canonicalHostName(name)));
  const unknown = hosts.find(({ name }) => !known.has(canonicalHostName(name)));
  if (unknown === undefined) return;
  throw new UsageError(
    `-H names the host "${unknown.name}", which the hostfile "${path}" does not have. ` +
      `It has ${fromFile.map(({ name }) => name).join(", ")}. Add the host to the hostfile, or leave out one of the two options.`,
  );
}
