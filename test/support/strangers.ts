/**
 * Everybody who reaches a port that a run has open, without knowing its secret: finds the ports of processes, and knocks at them
 * with garbage, with a proof that is wrong, and with half a greeting, half a frame or nothing and then silence.
 */
import { randomBytes } from "node:crypto";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { connect } from "node:net";

export interface OpenPort {
  readonly pid: number;
  /** As /proc/net/tcp has it: hexadecimal, 0100007F is 127.0.0.1. */
  readonly address: string;
  readonly port: number;
}

const LISTENING = "0A";
/** native/transport/hello.h */
const WORD_BYTES = 8;
const HELLO_BYTES = 88;

/** The TCP ports at which these processes listen; one that ends meanwhile has none. */
export function openPorts(pids: readonly number[]): OpenPort[] {
  return pids.flatMap((pid) => {
    try {
      return openPortsOf(pid);
    } catch {
      return [];
    }
  });
}

function openPortsOf(pid: number): OpenPort[] {
  const files = readdirSync(`/proc/${pid}/fd`).map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`));
  return readFileSync(`/proc/${pid}/net/tcp`, "utf8")
    .split("\n")
    .slice(1)
    .map((line) => line.trim().split(/\s+/))
    .filter((fields) => fields[3] === LISTENING && files.includes(`socket:[${fields[9]}]`))
    .map((fields) => {
      const [address = "", port = ""] = (fields[1] ?? "").split(":");
      return { pid, address, port: Number.parseInt(port, 16) };
    });
}

/** What a stranger says to a port, given the port's first word. */
export type Greeting = (challenge: Buffer) => Buffer;
export const garbage: Greeting = () => randomBytes(500);
/** The word is the port's own, so that only the proof is wrong. */
export const wrongProof: Greeting = (challenge) =>
  Buffer.concat([challenge.subarray(0, WORD_BYTES), randomBytes(HELLO_BYTES - WORD_BYTES)]);
/** And no more after it. */
export const halfGreeting: Greeting = (challenge) => challenge.subarray(0, WORD_BYTES);
/** Of HTTP/2: the greeting that gRPC expects, and the first bytes of a frame. */
export const halfFrame: Greeting = () => Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0");
export const silence: Greeting = () => Buffer.alloc(0);

/** Connects, greets once the port has spoken, and resolves when it has closed the connection. */
export function knock(port: number, greeting: Greeting): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect({ host: "127.0.0.1", port });
    socket.once("data", (challenge: Buffer) => socket.write(greeting(challenge)));
    socket.on("error", () => {}); // a reset is one way to be dropped
    socket.on("close", () => resolve());
  });
}

/** Bytes of memory that a process holds. */
export function residentBytes(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))![1]) * 1024;
}
