/** This process's resident memory, as the kernel counts it. */
import { readFileSync } from "node:fs";

export interface MemoryUse {
  /** Resident private memory (RssAnon): what this rank alone needs. */
  readonly privateBytes: number;
  /** All resident memory, shared mappings of weight files included. */
  readonly residentBytes: number;
}

export function readMemory(): MemoryUse {
  const status = readFileSync("/proc/self/status", "utf8");
  const readBytes = (key: string): number =>
    Number(new RegExp(`^${key}:\\s+(\\d+) kB`, "m").exec(status)?.[1] ?? 0) * 1024;
  return { privateBytes: readBytes("RssAnon"), residentBytes: readBytes("VmRSS") };
}
