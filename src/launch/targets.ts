/**
 * The hosts that the options name, and how each one's agent is started: on this host from here, on others over ssh, from where
 * shardrun is installed there or from the copy that --push puts there.
 */
import { join } from "node:path";
import type { Variables } from "../environment.ts";
import type { AgentTarget } from "./agent-connection.ts";
import { chooseHosts, type NamedHost } from "./hosts.ts";
import { describeInstallation, INSTALLATION, type InstallationCopy } from "./installation.ts";
import type { LaunchOptions } from "./options.ts";
import { listCores } from "./processors.ts";
import { cachePathOf, pushInstallation } from "./push.ts";

/** A host, before its agent is started. */
export interface ReachableHost {
  readonly named: NamedHost;
  readonly target: AgentTarget;
  /** Makes the host ready for its agent. @throws {LaunchError} when that fails */
  readonly prepare: () => Promise<void>;
}

/**
 * The hosts of -hostfile and -H, in their order; this host where there is neither.
 * @throws {UsageError} when the options or the hostfile cannot be understood
 */
export function findHosts(options: LaunchOptions, variables: Variables): readonly ReachableHost[] {
  const hosts = chooseHosts(options, listCores().length);
  const copy = options.push && hosts.some(({ ssh }) => ssh !== undefined) ? describeInstallation() : undefined;
  return hosts.map((named) => {
    const target = agentTarget(named, options, copy);
    const prepare = async (): Promise<void> => {
      if (copy !== undefined && target.ssh !== undefined) await pushInstallation(target.ssh, copy, variables);
    };
    return { named, target, prepare };
  });
}

/** Whether rank 0 will run on this host. @throws as findHosts does */
export function isRootHere(options: LaunchOptions): boolean {
  return chooseHosts(options, listCores().length)[0]?.ssh === undefined;
}

function agentTarget({ name, ssh }: NamedHost, options: LaunchOptions, copy?: InstallationCopy): AgentTarget {
  if (ssh === undefined) return { name };
  const { sshArgs, prefix = INSTALLATION } = options;
  return copy === undefined
    ? { name, ssh: { ...ssh, sshArgs, prefix } }
    : { name, ssh: { ...ssh, sshArgs, prefix: join(cachePathOf(copy), copy.directory), isInCache: true } };
}
