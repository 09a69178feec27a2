import { describe, expect, test } from "@jest/globals";
import { findCoordinatorAddress, type GreetedHost } from "../../../src/launch/coordinator-address.ts";

/** A host as its agent describes it; other hosts are reached from 10.0.0.9. */
function host(name: string, address: string, isRemote: boolean, sshConnection?: string): GreetedHost {
  const addresses = { lo: ["127.0.0.1", "::1"], eth0: ["fe80::1", address], ib0: [`192.168.0.${address.at(-1)}`] };
  return {
    name,
    isRemote,
    hello: { version: "1", cores: [[0]], numaDomains: [[[0]]], freePort: 40000, addresses, sshConnection },
  };
}

const HERE = host("here", "10.0.0.9", false, "1.2.3.4 5 6.7.8.9 22"); // a user may have come here by ssh: means nothing
const A = host("a", "10.0.0.1", true, "10.0.0.9 50000 10.0.0.1 22");
const B = host("b", "10.0.0.2", true, "10.0.0.9 50001 10.0.0.2 22");

describe("rank 0 is found", () => {
  test.each<[where: string, root: GreetedHost, others: GreetedHost[], asked: string | undefined, address: string]>([
    ["on the loopback, when all ranks are here", HERE, [], undefined, "127.0.0.1"],
    ["on the loopback, when all ranks are on another host", A, [], undefined, "127.0.0.1"],
    ["where the other hosts were called from", HERE, [A, B], undefined, "10.0.0.9"],
    ["where ssh reached its host", A, [HERE, B], undefined, "10.0.0.1"],
    ["by its host's name, where ssh does not say more", host("c", "10.0.0.3", true), [HERE], undefined, "c"],
    ["at an interface by name, not at its link-local address", HERE, [A], "eth0", "10.0.0.9"],
    ["at another interface of another host", A, [HERE], "ib0", "192.168.0.1"],
    ["at an interface by address", HERE, [A], "192.168.0.9", "192.168.0.9"],
  ])("%s", (_where, root, others, asked, address) => {
    expect(findCoordinatorAddress(root, others, asked)).toBe(address);
  });
});

test("an interface that the host of rank 0 does not have", () => {
  expect(() => findCoordinatorAddress(A, [HERE], "eth7")).toThrow(
    expect.objectContaining({
      name: "UsageError",
      message:
        `--interface expects a network interface of host a, where rank 0 runs, or its address, received "eth7". ` +
        "There are lo (127.0.0.1, ::1), eth0 (fe80::1, 10.0.0.1), ib0 (192.168.0.1).",
    }),
  );
});

test("a way to this host that nobody knows", () => {
  expect(() => findCoordinatorAddress(HERE, [host("c", "10.0.0.3", true), host("d", "10.0.0.4", true)])).toThrow(
    expect.objectContaining({
      name: "LaunchError",
      message:
        "Could not find out at which address c, d can reach rank 0 on this host: ssh sets no SSH_CONNECTION there. " +
        "Say it with --interface NAME or --interface ADDRESS.",
    }),
  );
});
