/** Tunnels through the coordinator, for ranks whose collectives go over gRPC: bytes pass, ends are noticed, strangers are turned away. */
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { type ServiceError, status } from "@grpc/grpc-js";
import { expect, test } from "@jest/globals";
import type { Tunnel } from "../../../src/rendezvous/bridge.ts";
import {
  RendezvousClient as RendezvousStub,
  type TunnelMessage,
} from "../../../src/rendezvous/generated/rendezvous.ts";
import { createSecret, proveSecret } from "../../../src/rendezvous/secret.ts";
import { PLAIN_CREDENTIALS } from "../../../src/rendezvous/tls.ts";
import { cleanups, closeAfterEachTest, joinAs, openCoordinator, until } from "../../support/rendezvous-world.ts";

closeAfterEachTest();

/** What has come through, and whether the other end has ended. */
function listen(tunnel: Tunnel) {
  const seen = { bytes: [] as number[], hasEnded: false };
  tunnel.on("error", () => {});
  tunnel.on("data", ({ body }: TunnelMessage) => seen.bytes.push(...(body?.value as Uint8Array)));
  tunnel.on("end", () => (seen.hasEnded = true));
  return seen;
}

async function joinTwo() {
  const { address } = await openCoordinator(2);
  return Promise.all([joinAs(0, 2, address), joinAs(1, 2, address)]);
}

test("bytes pass both ways, in order, and the end after them", async () => {
  const [a, b] = await joinTwo();
  const opened = a.client.openTunnel();
  opened.write({ body: { $case: "toRank", value: 1 } });
  opened.write({ body: { $case: "data", value: Uint8Array.of(1, 2) } });
  await until(() => b.offers.length === 1);
  const accepted = b.client.openTunnel();
  accepted.write({ body: { $case: "accept", value: b.offers[0]! } });
  accepted.write({ body: { $case: "data", value: Uint8Array.of(3) } });
  accepted.end({ body: { $case: "data", value: Uint8Array.of(4) } });
  const atA = listen(opened);
  const atB = listen(accepted);
  await until(() => atA.hasEnded && atB.bytes.length === 2);
  expect([atA.bytes, atB.bytes]).toEqual([
    [3, 4],
    [1, 2],
  ]);
});

test.each<[string, NonNullable<TunnelMessage["body"]>]>([
  ["to a rank that is not there", { $case: "toRank", value: 2 }],
  ["that nobody has opened", { $case: "accept", value: 7 }],
  ["that does not say which", { $case: "data", value: Uint8Array.of(1) }],
])("a tunnel %s ends at once", async (_, body) => {
  const [a] = await joinTwo();
  const tunnel = a.client.openTunnel();
  const seen = listen(tunnel);
  tunnel.write({ body });
  await until(() => seen.hasEnded);
});

test("a tunnel whose opener has gone cannot be accepted", async () => {
  const [a, b] = await joinTwo();
  const opened = a.client.openTunnel();
  opened.on("error", () => {});
  opened.write({ body: { $case: "toRank", value: 1 } });
  await until(() => b.offers.length === 1);
  opened.cancel();
  await sleep(50);
  const accepted = b.client.openTunnel();
  const seen = listen(accepted);
  accepted.write({ body: { $case: "accept", value: b.offers[0]! } });
  await until(() => seen.hasEnded);
});

test("a stranger's tunnel is turned away", async () => {
  const { address } = await openCoordinator(1);
  const stub = new RendezvousStub(address.address, PLAIN_CREDENTIALS.client);
  cleanups.push(() => stub.close());
  const [error] = (await once(stub.tunnel(proveSecret(createSecret())), "error")) as [ServiceError];
  expect(error).toMatchObject({ code: status.UNAUTHENTICATED, details: "the secret of this run was not proved" });
});
