/** `--link 1Gbit,0.2ms`: a network between hosts as people describe it, in bytes per second and seconds. */
import { UsageError } from "../errors.ts";

const BITS = { bit: 1, kbit: 1e3, mbit: 1e6, gbit: 1e9 } as const;
const SECONDS = { s: 1, ms: 1e-3, us: 1e-6 } as const;

/**
 * @param text a rate, a comma and the time that a small message takes one way
 * @throws {UsageError} when it is anything else
 */
export function readLink(text: string): { readonly bytesPerSecond: number; readonly latencySeconds: number } {
  const match = /^([\d.]+)([kmg]?bit),([\d.]+)(s|ms|us)$/i.exec(text.replaceAll(" ", ""));
  const bits = Number(match?.[1]) * BITS[match?.[2]?.toLowerCase() as keyof typeof BITS];
  const latencySeconds = Number(match?.[3]) * SECONDS[match?.[4]?.toLowerCase() as keyof typeof SECONDS];
  if (!(bits > 0 && latencySeconds >= 0)) {
    throw new UsageError(
      `--link expects a rate and the time of a small message one way, like 1Gbit,0.2ms, received "${text}".`,
    );
  }
  return { bytesPerSecond: bits / 8, latencySeconds };
}
