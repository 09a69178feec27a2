/** Where the time of steps goes, on the leader: counted per request, added up per model. */

export interface StepStatistics {
  readonly prefillTokens: number;
  readonly prefillNanoseconds: number;
  readonly decodeTokens: number;
  readonly decodeNanoseconds: number;
  /** Of the decode steps: inside onnxruntime without collectives, and inside collectives. */
  readonly decodeComputeNanoseconds: number;
  readonly decodeCollectiveNanoseconds: number;
}

/** Statistics under way. */
export type StepCounters = { -readonly [Key in keyof StepStatistics]: number };

export function startCounting(): StepCounters {
  return {
    prefillTokens: 0,
    prefillNanoseconds: 0,
    decodeTokens: 0,
    decodeNanoseconds: 0,
    decodeComputeNanoseconds: 0,
    decodeCollectiveNanoseconds: 0,
  };
}

/** Adds `more` to `total`. */
export function addStatistics(total: StepCounters, more: StepStatistics): void {
  for (const key of Object.keys(total) as (keyof StepStatistics)[]) {
    total[key] += more[key];
  }
}
