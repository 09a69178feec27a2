/**
 * Generator: text generation, scores and logits of one model, over as many ranks as its load options say.
 * CTranslate2's Generator in camelCase; promises, AsyncIterable, AbortSignal and `await using` where Python blocks.
 */
import type { GenerationOptions } from "../decode/options.ts";
import { logSoftmax, scoreTokens } from "../decode/score.ts";
import { rankHypotheses } from "../decode/sequence.ts";
import type { Engine } from "../engine/engine.ts";
import type { GeneratedSequence, TokenEvent } from "../engine/messages.ts";
import { addStatistics, startCounting, type StepStatistics } from "../engine/statistics.ts";
import { UsageError } from "../errors.ts";
import type { RankProfile } from "../execute/profile.ts";
import type { HostTransfer } from "../execute/provide-model.ts";
import type { RankReport } from "../execute/rank.ts";
import { say } from "../log.ts";
import type { ChatMessage } from "../model/chat-template.ts";
import { chatEndTokens, loadModel, type Model } from "../model/model.ts";
import { describeTransfers } from "./describe-transfers.ts";
import { resolveGenerationOptions, resolveInputs, resolveMaxContext, type Token } from "./inputs.ts";
import { checkLoadOptions, leadsModel, openEngine, resolveThreads, type LoadOptions } from "./load.ts";
import { gateResult, gateStream } from "./rank-gate.ts";
import type { ForwardResult, GenerationResult, GenerationStepResult, ScoringResult } from "./results.ts";
import { environment, type EngineOfModel } from "./world.ts";

export interface CallOptions {
  /** Stops the call between two steps; it rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

export interface TokenStreamOptions extends GenerationOptions, CallOptions {
  /** Give each token its log probability. */
  readonly returnLogProb?: boolean;
}

export interface ScoreOptions extends CallOptions {
  /** Longer inputs are cut; 0: no limit. */
  readonly maxInputLength?: number;
}

export interface ForwardOptions extends CallOptions {
  /** Log probabilities instead of logits. */
  readonly returnLogProbs?: boolean;
}

/** What a Generator has done so far, and what its ranks cost. */
export interface GeneratorStatistics extends StepStatistics {
  /** One per rank, in rank order. */
  readonly ranks: readonly RankReport[];
  /** What was sent at loading to hosts that have no copy of the model. */
  readonly transfers: readonly HostTransfer[];
}

/** The loaded model on the rank that holds results. */
interface Loaded {
  readonly model: Model;
  readonly engine: EngineOfModel;
  /** The engine's number for it. */
  readonly id: number;
  readonly maxContext: number;
  readonly transfers: readonly HostTransfer[];
}

export class Generator implements AsyncDisposable {
  /** Undefined on a rank that follows: there every call resolves to a gated result. */
  readonly #loaded: Loaded | undefined;
  readonly #statistics = startCounting();
  #unloading: Promise<void> | undefined;
  #isProfiled: boolean;

  private constructor(loaded: Loaded | undefined, isProfiled = false) {
    this.#loaded = loaded;
    this.#isProfiled = isProfiled;
  }

  /**
   * Loads a checkpoint directory or GGUF file on all ranks that share the model.
   * @throws {UsageError} when an option is wrong, {ModelError} when the model is missing, damaged or unknown
   */
  static async load(modelPath: string, options: LoadOptions = {}): Promise<Generator> {
    checkLoadOptions(modelPath, options);
    return leadsModel(options)
      ? Generator.#loadOn(() => openEngine(options), modelPath, options)
      : new Generator(undefined);
  }

  /**
   * Loads a model on ranks that the caller starts, whatever world this process belongs to; tensorParallel means nothing then.
   * @internal
   */
  static async loadOn(
    openRanks: () => Promise<EngineOfModel>,
    modelPath: string,
    options: LoadOptions,
  ): Promise<Generator> {
    checkLoadOptions(modelPath, { ...options, tensorParallel: false });
    return Generator.#loadOn(openRanks, modelPath, options);
  }

  static async #loadOn(
    openRanks: () => Promise<EngineOfModel>,
    modelPath: string,
    options: LoadOptions,
  ): Promise<Generator> {
    // Read here first, so that a bad model is refused before any other rank hears of it, or is started.
    const { computeType, blockSize } = options;
    const model = await loadModel(modelPath, { maxContext: options.maxContext });
    const maxContext = resolveMaxContext(model, options.maxContext);
    const engine = await openRanks();
    try {
      const { directory, config } = model;
      const { model: id, transfers } = await engine.engine.request({
        kind: "load",
        load: {
          directory,
          computeType,
          blockSize,
          vocabSize: config.vocabSize,
          maxContext,
          intraThreads: resolveThreads(options, engine),
          verify: options.verify ?? false,
          profile: options.profile ?? false,
          cache: options.cache ?? true,
          cacheLimitBytes: options.cacheLimit,
        },
      });
      describeTransfers(transfers).forEach(say);
      return new Generator({ model, engine, id, maxContext, transfers }, options.profile);
    } catch (error) {
      await engine.close();
      throw error;
    }
  }

  /**
   * Continues each prompt.
   * @param startTokens prompts, as tokens or token ids
   * @returns one result per prompt, in order
   */
  async generateBatch(
    startTokens: readonly (readonly Token[])[],
    options: GenerationOptions & CallOptions = {},
  ): Promise<GenerationResult[]> {
    if (this.#loaded === undefined) {
      return gateResult(environment.identity.rank, "generateBatch");
    }
    const { signal, ...decoding } = options;
    const sequences = await this.#generate(this.#loaded, startTokens, decoding, { signal });
    return startTokens.map((_, promptIndex) => {
      const hypotheses = rankHypotheses(sequences.filter((sequence) => sequence.promptIndex === promptIndex));
      return {
        sequences: hypotheses.map(({ tokenIds }) => tokenIds.map((id) => this.#tokenText(id))),
        sequencesIds: hypotheses.map(({ tokenIds }) => tokenIds),
        scores: decoding.returnScores === true ? hypotheses.map(({ score }) => score!) : [],
        logits: hypotheses.flatMap(({ logits }) => (logits === undefined ? [] : [logits])),
        finishReasons: hypotheses.map(({ finishReason }) => finishReason as "stop" | "length"),
      };
    });
  }

  /**
   * Continues one prompt or several, token by token. Leaving the loop stops the generation.
   * @param prompt one prompt, or a list of them
   */
  generateTokens(
    prompt: readonly Token[] | readonly (readonly Token[])[],
    options: TokenStreamOptions = {},
  ): AsyncGenerator<GenerationStepResult, void, undefined> {
    if (this.#loaded === undefined) {
      return gateStream(environment.identity.rank, "generateTokens");
    }
    const prompts = Array.isArray(prompt[0]) ? (prompt as readonly (readonly Token[])[]) : [prompt as readonly Token[]];
    return this.#streamTokens(this.#loaded, prompts, options);
  }

  /** Log probability of each token of each input given the tokens before it. */
  async scoreBatch(tokens: readonly (readonly Token[])[], options: ScoreOptions = {}): Promise<ScoringResult[]> {
    if (this.#loaded === undefined) {
      return gateResult(environment.identity.rank, "scoreBatch");
    }
    const { maxInputLength = 1024, signal } = options;
    const { model, maxContext } = this.#loaded;
    const inputs = resolveInputs(model, maxContext, tokens, maxInputLength);
    const logits = await this.#forward(this.#loaded, inputs, signal);
    const { vocabSize } = model.config;
    return inputs.map((ids, index) => {
      const rows = ids.map((_, t) => logits[index]!.subarray(t * vocabSize, (t + 1) * vocabSize));
      return { tokens: ids.slice(1).map((id) => this.#tokenText(id)), logProbs: scoreTokens(ids, rows) };
    });
  }

  /** Logits of every position of every input: [B, T, V]. */
  async forwardBatch(inputs: readonly (readonly Token[])[], options: ForwardOptions = {}): Promise<ForwardResult> {
    if (this.#loaded === undefined) {
      return gateResult(environment.identity.rank, "forwardBatch");
    }
    const { model, maxContext } = this.#loaded;
    const ids = resolveInputs(model, maxContext, inputs);
    const logits = await this.#forward(this.#loaded, ids, options.signal);
    const { vocabSize } = model.config;
    const longest = Math.max(0, ...ids.map((input) => input.length));
    const data = new Float32Array(ids.length * longest * vocabSize);
    logits.forEach((rows, index) => {
      for (let t = 0; options.returnLogProbs === true && t < ids[index]!.length; t++) {
        logSoftmax(rows.subarray(t * vocabSize, (t + 1) * vocabSize));
      }
      data.set(rows, index * longest * vocabSize);
    });
    return { shape: [ids.length, longest, vocabSize], data };
  }

  /** Token ids of a text, with the tokens that the model wants around it. */
  encode(text: string): number[] {
    return this.#require("encode").model.tokenizer.encode(text);
  }

  /**
   * Token ids of a conversation by the model's chat template, ready to be continued with an answer.
   * @throws {ModelError} when the model has no template, or the template refuses the conversation
   */
  applyChatTemplate(
    messages: readonly ChatMessage[],
    options: { readonly addGenerationPrompt?: boolean } = {},
  ): number[] {
    return this.#require("applyChatTemplate").model.tokenizer.applyChatTemplate(messages, options);
  }

  /** What ends an answer, as the option endToken: the model's end tokens, and the one that its chat template puts after an answer. */
  get chatEndTokens(): number[] {
    return chatEndTokens(this.#require("chatEndTokens").model);
  }

  /** Text of token ids, without special tokens. */
  decode(tokenIds: readonly number[]): string {
    return this.#require("decode").model.tokenizer.decode(tokenIds);
  }

  /** Everything that config.json, generation_config.json and tokenizer.json say. */
  get model(): Model {
    return this.#require("model").model;
  }

  /** Positions of a sequence, prompt and new tokens together. */
  get maxContext(): number {
    return this.#require("maxContext").maxContext;
  }

  /** Time of all steps so far, and memory per rank. */
  async statistics(): Promise<GeneratorStatistics> {
    const loaded = this.#require("statistics");
    const ranks = await this.#engineOf(loaded).request({ kind: "report" });
    return { ...this.#statistics, ranks, transfers: loaded.transfers };
  }

  /**
   * Where the time of all steps so far went, per rank; ends the tracing. Call it when no other call is under way.
   * @throws {UsageError} unless the model was loaded with `profile: true`, or when it was called before
   */
  async readProfile(): Promise<readonly RankProfile[]> {
    const loaded = this.#require("readProfile");
    if (!this.#isProfiled) {
      throw new UsageError("readProfile serves once, for a model that was loaded with profile: true.");
    }
    this.#isProfiled = false;
    return this.#engineOf(loaded).request({ kind: "profile", model: loaded.id });
  }

  /** Frees the model on every rank, after the calls under way; later calls are refused. May be called again. */
  async unloadModel(): Promise<void> {
    if (this.#loaded !== undefined) {
      await (this.#unloading ??= unload(this.#loaded));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.unloadModel();
  }

  #require(call: string): Loaded {
    return this.#loaded ?? gateResult<Loaded>(environment.identity.rank, call);
  }

  /** @throws {UsageError} after unloadModel */
  #engineOf({ engine, model }: Loaded): Engine {
    if (this.#unloading !== undefined) {
      throw new UsageError(`The model of ${model.directory} has been unloaded: load it again with Generator.load.`);
    }
    return engine.engine;
  }

  async #generate(
    loaded: Loaded,
    prompts: readonly (readonly Token[])[],
    options: GenerationOptions,
    { signal, onToken }: { signal?: AbortSignal | undefined; onToken?: (token: TokenEvent) => void },
  ): Promise<readonly GeneratedSequence[]> {
    const { sequences, statistics } = await this.#engineOf(loaded).request(
      {
        kind: "generate",
        generate: {
          model: loaded.id,
          prompts: resolveInputs(loaded.model, loaded.maxContext, prompts),
          options: resolveGenerationOptions(loaded.model, options),
          stream: onToken !== undefined,
        },
      },
      { onToken, signal },
    );
    addStatistics(this.#statistics, statistics);
    return sequences;
  }

  async *#streamTokens(
    loaded: Loaded,
    prompts: readonly (readonly Token[])[],
    { signal, returnLogProb = false, ...options }: TokenStreamOptions,
  ): AsyncGenerator<GenerationStepResult, void, undefined> {
    const stop = new AbortController();
    const queue: TokenEvent[] = [];
    let wake = (): void => {};
    let end: { readonly error: unknown } | undefined;
    const push = (token: TokenEvent): void => {
      queue.push(token);
      wake();
    };
    const finish = (error: unknown): void => {
      end = { error };
      wake();
    };
    this.#generate(
      loaded,
      prompts,
      // As in CTranslate2, lengths count new tokens here.
      { ...options, includePromptInResult: false, returnScores: returnLogProb || options.returnScores },
      { signal: signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]), onToken: push },
    ).then(() => finish(undefined), finish);
    try {
      for (;;) {
        const token = queue.shift();
        if (token !== undefined) {
          yield {
            step: token.step,
            batchId: token.promptIndex,
            tokenId: token.tokenId,
            hypothesisId: token.hypothesis,
            token: this.#tokenText(token.tokenId),
            logProb: returnLogProb ? token.logProb : undefined,
            isLast: token.isLast,
          };
        } else if (end !== undefined) {
          if (end.error !== undefined) {
            throw end.error as Error;
          }
          return;
        } else {
          await new Promise<void>((resolve) => (wake = resolve));
        }
      }
    } finally {
      stop.abort();
    }
  }

  async #forward(
    loaded: Loaded,
    inputs: readonly (readonly number[])[],
    signal: AbortSignal | undefined,
  ): Promise<readonly Float32Array[]> {
    const request = { kind: "forward", forward: { model: loaded.id, sequences: inputs } } as const;
    return (await this.#engineOf(loaded).request(request, { signal })).logits;
  }

  /** The text of one token; ids beyond the tokenizer's vocabulary, and models without a tokenizer, get "<id>". */
  #tokenText(id: number): string {
    const { tokenizer } = this.#loaded!.model;
    return (tokenizer.isAvailable ? tokenizer.idToToken(id) : undefined) ?? `<${id}>`;
  }
}

async function unload({ engine, id }: Loaded): Promise<void> {
  // Lost ranks have no model any more; that they are lost has been told to the calls under way.
  await engine.engine.request({ kind: "unload", model: id }).catch(() => undefined);
  await engine.close();
}
