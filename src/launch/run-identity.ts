/**
 * What makes one run different from every other on this host: its id, its secret, and where its ranks meet.
 */
import { randomBytes } from "node:crypto";
import { type AddressInfo, createServer } from "node:net";
import type { TlsFiles } from "../environment.ts";

/** What all ranks of a run share. */
export interface RunIdentity {
  readonly runId: string;
  /** 32 bytes in hexadecimal, which every connection of the run proves. */
  readonly secret: string;
  /** Where rank 0's coordinator will listen. */
  readonly coordinator: { readonly host: string; readonly port: number };
  readonly worldSize: number;
  /** Slots of all hosts. */
  readonly numSlots: number;
  /** How long ranks wait for each other at the start; undefined: their own default. */
  readonly startTimeoutMs?: number;
  /** How much of a model each rank takes, compared with the others; undefined: all the same. */
  readonly rankWeights?: readonly number[];
  /** Certificates for the control channel, at the same paths on every host. */
  readonly tls?: TlsFiles;
}

/** The address by which ranks of one host reach each other. */
export const LOOPBACK = "127.0.0.1";

/** Draws id and secret. */
export function createRun(world: Omit<RunIdentity, "runId" | "secret">): RunIdentity {
  return { ...world, runId: randomBytes(8).toString("hex"), secret: randomBytes(32).toString("hex") };
}

/** A port of this host that nobody listens on. Another process could take the port before rank 0 does; rank 0 then says so. */
export async function findFreePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => server.once("error", reject).listen(0, LOOPBACK, resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
