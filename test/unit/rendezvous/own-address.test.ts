import { lookup } from "node:dns/promises";
import { hostname, networkInterfaces } from "node:os";
import { expect, test } from "@jest/globals";
import { readEnvironment, type Variables } from "../../../src/environment.ts";
import { RendezvousError, UsageError } from "../../../src/errors.ts";
import { chooseOwnAddress } from "../../../src/rendezvous/own-address.ts";

const SPREAD = { SHARDRUN_HOST: "hosta", SHARDRUN_RANK: "1", SHARDRUN_WORLD_SIZE: "2", SHARDRUN_LOCAL_WORLD_SIZE: "1" };
const secret = new Uint8Array(32);
const known = Object.entries(networkInterfaces()).map(
  ([name, list]) => [name, (list ?? []).map(({ address }) => address)] as const,
);
const outward = known.flatMap(([, addresses]) => addresses).find((address) => /^(?!127\.)[\d.]+$/.test(address));

function choose(address: string, env: Variables = SPREAD) {
  return chooseOwnAddress(readEnvironment(env), { kind: "address", address, secret });
}

test("ranks of one host listen on loopback, wherever they meet", async () => {
  const oneHost = { ...SPREAD, SHARDRUN_LOCAL_WORLD_SIZE: "2", SHARDRUN_INTERFACE: "eth9" };
  expect(await choose("203.0.113.7:4000", oneHost)).toBe("127.0.0.1");
  const file = { kind: "file" as const, path: "/tmp/never", secret };
  expect(await chooseOwnAddress(readEnvironment(SPREAD), file)).toBe("127.0.0.1");
});

test.each<[string, unknown]>([
  ["127.0.0.1:4000", "127.0.0.1"],
  ...(JSON.stringify(known).includes('"::1"') ? ([["[::1]:4000", "::1"]] as [string, unknown][]) : []),
  ["localhost:4000", expect.stringMatching(/^(127\.0\.0\.1|::1)$/)],
])("the way to rank 0 at %s", async (address, expected) => {
  expect(await choose(address)).toEqual(expected);
});

test("the way to rank 0 on this very host, seen from outside", async () => {
  if (outward === undefined) return; // a machine without any network
  expect(await choose(`${outward}:4000`)).toBe(outward);
});

test("an interface by name and by address", async () => {
  const [name, addresses] = known.find(([, list]) => list.includes("127.0.0.1"))!;
  expect(await choose("203.0.113.7:4000", { ...SPREAD, SHARDRUN_INTERFACE: name })).toBe("127.0.0.1");
  expect(await choose("203.0.113.7:4000", { ...SPREAD, SHARDRUN_INTERFACE: "127.0.0.1" })).toBe("127.0.0.1");
  const asRoot = addresses.find((address) => address.includes(":")) ?? "127.0.0.1";
  expect(await choose("[2001:db8::7]:4000", { ...SPREAD, SHARDRUN_INTERFACE: name })).toBe(asRoot);
});

test("an interface that this host does not have", async () => {
  const names = known.map(([name, addresses]) => `${name} (${addresses.join(", ")})`).join(", ");
  await expect(choose("203.0.113.7:4000", { ...SPREAD, SHARDRUN_INTERFACE: "eth9" })).rejects.toMatchObject({
    name: UsageError.name,
    message:
      'SHARDRUN_INTERFACE is "eth9" on rank 1 (hosta): expected the name or an address of one of this host\'s interfaces: ' +
      `${names}.`,
  });
});

// As Debian's installer writes /etc/hosts. Skipped where this host's own name means an address that others reach.
const ownName = await lookup(hostname()).catch(() => undefined);
const isMisleading = ownName !== undefined && /^(127\.|::1$)/.test(ownName.address);
(isMisleading ? test : test.skip)("rank 0's name means loopback on its own host", async () => {
  const address = `${hostname()}:4000`;
  await expect(choose(address)).rejects.toMatchObject({
    name: RendezvousError.name,
    message:
      `Rank 1 (hosta) cannot be reached by other hosts: rank 0 is to listen at ${address}, but on this host the name ` +
      `${hostname()} means ${ownName!.address} (see /etc/hosts). Name rank 0's host by its address.`,
  });
});

test("rank 0's name is unknown", async () => {
  await expect(choose("hostb.invalid:4000")).rejects.toMatchObject({
    name: RendezvousError.name,
    rank: 1,
    message: expect.stringMatching(
      /^Rank 1 \(hosta\) finds no way to rank 0 at hostb\.invalid:4000: getaddrinfo \w+ hostb\.invalid\. Check the address, or name the interface to use in SHARDRUN_INTERFACE\.$/,
    ),
  });
});
