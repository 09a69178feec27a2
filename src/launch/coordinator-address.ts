/**
 * Where the other hosts find rank 0: what the agents say of their hosts in, one address out. ssh has already found a way
 * between the launcher's host and each other, and tells both ends of it; names need not mean anything there. Pure.
 */
import { LaunchError, UsageError } from "../errors.ts";
import type { AgentHello } from "./job.ts";
import { LOOPBACK } from "./run-identity.ts";

/** A host of the run as its agent describes it. */
export interface GreetedHost {
  readonly name: string;
  /** Another host than the launcher's. */
  readonly isRemote: boolean;
  readonly hello: AgentHello;
}

/**
 * The address of rank 0's host for the ranks of all hosts; of the loopback when there is no other host.
 * @param root the host of rank 0
 * @param asked --interface
 * @throws {UsageError} when root has no such interface
 * @throws {LaunchError} when ssh does not say how this host is reached
 */
export function findCoordinatorAddress(root: GreetedHost, others: readonly GreetedHost[], asked?: string): string {
  if (asked !== undefined) return addressOfInterface(root, asked);
  if (others.length === 0) return LOOPBACK;
  if (root.isRemote) return connectionOf(root)?.server ?? root.name;
  const address = others.map((other) => connectionOf(other)?.client).find((client) => client !== undefined);
  if (address !== undefined) return address;
  throw new LaunchError(
    `Could not find out at which address ${others.map(({ name }) => name).join(", ")} can reach rank 0 on this host: ` +
      `ssh sets no SSH_CONNECTION there. Say it with --interface NAME or --interface ADDRESS.`,
    { host: root.name },
  );
}

/** Both ends of the connection by which ssh started a remote agent. */
function connectionOf({
  isRemote,
  hello,
}: GreetedHost): { readonly client: string; readonly server: string } | undefined {
  const [client, , server] = (isRemote && hello.sshConnection?.split(" ")) || [];
  return client === undefined || server === undefined ? undefined : { client, server };
}

function addressOfInterface({ name, hello }: GreetedHost, asked: string): string {
  const all = Object.entries(hello.addresses);
  const ofName = hello.addresses[asked] ?? [];
  // A link-local address means something else on every host.
  const address =
    ofName.find((each) => !each.startsWith("fe80:")) ??
    all.flatMap(([, addresses]) => addresses).find((each) => each === asked);
  if (address !== undefined) return address;
  throw new UsageError(
    `--interface expects a network interface of host ${name}, where rank 0 runs, or its address, received "${asked}". ` +
      `There are ${all.map(([each, addresses]) => `${each} (${addresses.join(", ")})`).join(", ")}.`,
    { host: name },
  );
}
