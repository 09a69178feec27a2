/** The one summary line of a run: ranks, speed, memory, and where the time of a decode step went. */
import type { GeneratorStatistics } from "../api/generator.ts";

const MEGABYTE = 1e6;

function perSecond(count: number, nanoseconds: number): string {
  return nanoseconds === 0 ? "-" : (count / (nanoseconds / 1e9)).toFixed(count / (nanoseconds / 1e9) < 100 ? 1 : 0);
}

function share(part: number, whole: number): string {
  return whole === 0 ? "-" : `${((100 * part) / whole).toFixed(1)} %`;
}

export function describeStatistics(statistics: GeneratorStatistics): string {
  const { ranks, decodeNanoseconds } = statistics;
  const megabytes = ranks.map((rank) => (rank.privateBytes / MEGABYTE).toFixed(0)).join(" + ");
  return (
    `${ranks.length} ${ranks.length === 1 ? "rank" : "ranks"} | ` +
    `prefill ${perSecond(statistics.prefillTokens, statistics.prefillNanoseconds)} tokens/s, ` +
    `decode ${perSecond(statistics.decodeTokens, decodeNanoseconds)} tokens/s | ` +
    `of a decode step: onnxruntime ${share(statistics.decodeComputeNanoseconds, decodeNanoseconds)}, ` +
    `collectives ${share(statistics.decodeCollectiveNanoseconds, decodeNanoseconds)} | ` +
    `private memory ${megabytes} MB`
  );
}
