/** The options of every ready-made program that chooses tokens. */
import type { GenerationOptions } from "../decode/options.ts";
import { readNumber, VALUE, type ProgramArguments } from "./options.ts";

export const DECODING_OPTIONS = {
  "min-length": { ...VALUE, describe: "Fewest new tokens [default: 0]" },
  temperature: { ...VALUE, describe: "Above 0: sample; 0: always the likeliest token [default: 0]" },
  "top-k": { ...VALUE, describe: "Sample among the k likeliest tokens; 0: all [default: 0]" },
  "top-p": { ...VALUE, describe: "Sample among the likeliest tokens that reach this probability [default: 1]" },
  "repetition-penalty": { ...VALUE, describe: "Above 1: tokens that appeared become less likely [default: 1]" },
  "no-repeat-ngram-size": { ...VALUE, describe: "No n-gram of this size appears twice; 0: off [default: 0]" },
  seed: { ...VALUE, describe: "Makes sampling repeatable [default: a new one each time]" },
} as const;

/** Everything but the most new tokens, for which each program has its own option. */
export function readDecoding(options: ProgramArguments): GenerationOptions {
  const temperature = readNumber(options, "temperature") ?? 0;
  return {
    includePromptInResult: false,
    returnEndToken: true,
    minLength: readNumber(options, "min-length"),
    samplingTemperature: temperature,
    samplingTopk: temperature === 0 ? 1 : (readNumber(options, "top-k") ?? 0),
    samplingTopp: readNumber(options, "top-p"),
    repetitionPenalty: readNumber(options, "repetition-penalty"),
    noRepeatNgramSize: readNumber(options, "no-repeat-ngram-size"),
    seed: readNumber(options, "seed"),
  };
}
