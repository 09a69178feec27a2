/** One run of prefill and decode on a loaded model, and what of its time went where. */
import type { Generator } from "../api/generator.ts";
import type { StepStatistics } from "../engine/statistics.ts";

/** One measured run of prefill and decode. */
export interface Measurement {
  readonly prefillTokensPerSecond: number;
  readonly decodeTokensPerSecond: number;
  /** Of a decode step's time. */
  readonly collectiveShare: number;
  readonly computeShare: number;
}

/** One prompt, then newTokens decode steps; nothing ends the text early. */
export async function measureDecode(
  generator: Generator,
  sizes: { readonly promptTokens: number; readonly newTokens: number },
): Promise<Measurement> {
  const { vocabSize } = generator.model.config;
  const prompt = Array.from({ length: sizes.promptTokens }, (_, index) => (index * 7919) % vocabSize);
  const before = await generator.statistics();
  await generator.generateBatch([prompt], {
    maxLength: sizes.newTokens + 1, // the first new token is the prefill's
    includePromptInResult: false,
    endToken: [],
  });
  const after = await generator.statistics();
  const spent = (key: keyof StepStatistics): number => after[key] - before[key];
  return {
    prefillTokensPerSecond: spent("prefillTokens") / (spent("prefillNanoseconds") / 1e9),
    decodeTokensPerSecond: spent("decodeTokens") / (spent("decodeNanoseconds") / 1e9),
    collectiveShare: spent("decodeCollectiveNanoseconds") / spent("decodeNanoseconds"),
    computeShare: spent("decodeComputeNanoseconds") / spent("decodeNanoseconds"),
  };
}

/** Of several runs, the median of one figure. */
export function medianOf(runs: readonly Measurement[], key: keyof Measurement): number {
  const sorted = runs.map((run) => run[key]).toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)]!;
}
