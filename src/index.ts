/** What a script imports. */
import "./node-version.ts";
export { Generator } from "./api/generator.ts";
export type {
  CallOptions,
  ForwardOptions,
  GeneratorStatistics,
  ScoreOptions,
  TokenStreamOptions,
} from "./api/generator.ts";
export type { Token } from "./api/inputs.ts";
export type { LoadOptions } from "./api/load.ts";
export { MpiInfo } from "./api/mpi-info.ts";
export type { ForwardResult, GenerationResult, GenerationStepResult, ScoringResult } from "./api/results.ts";
export type { GenerationOptions } from "./decode/options.ts";
export * from "./errors.ts";
export type { ChatMessage } from "./model/chat-template.ts";
