/**
 * Turns requests into steps: whole prompts are prefilled one sequence at a time, then all sequences under way are decoded
 * together, one token each per step, whichever request they belong to. A sequence that ends makes room for the next at once.
 * In: requests of one model. Out: tokens as they are chosen, and results. Runs on the leader only.
 *
 * Rows: the sequences under way hold cache rows 0 .. B-1 without a gap, so that a decode step is one [B, 1] forward pass.
 * When the sequence in row r ends, the one in the last row moves into r. Rows behind them are free; some hold what ended sequences
 * have left for others that begin alike (the option cachePrompt).
 */
import { Sequence } from "../decode/sequence.ts";
import type { Leader } from "../execute/leader.ts";
import type { StepResult } from "../execute/shard-model.ts";
import type { ModelSpecification, Step } from "../execute/step.ts";
import { KeptRows } from "./kept-rows.ts";
import type { ForwardRequest, GeneratedSequence, GenerateRequest, TokenEvent } from "./messages.ts";
import { startCounting, type StepCounters, type StepStatistics } from "./statistics.ts";

/** Prompt tokens per forward pass: enough to use the cores, few enough to be stopped between passes. */
const PREFILL_CHUNK_TOKENS = 512;
/** Fewer where every position's logits come back: [64, V] float32 is 32 MiB for a vocabulary of 128 000. */
const FORWARD_CHUNK_TOKENS = 64;

/** A generate request under way. */
interface Generation {
  readonly request: GenerateRequest;
  readonly signal: AbortSignal;
  readonly onToken: (token: TokenEvent) => void;
  readonly results: GeneratedSequence[];
  readonly statistics: StepCounters;
}

/** One hypothesis of one prompt, from waiting to finished. */
interface Job {
  readonly generation: Generation;
  readonly promptIndex: number;
  readonly hypothesis: number;
  readonly promptIds: readonly number[];
  readonly sequence: Sequence;
  /** Tokens in the cache row. */
  length: number;
  numChosen: number;
  lastToken: number;
  readonly settle: { readonly done: () => void; readonly fail: (error: unknown) => void };
}

/** Something that needs a free row: a sequence to start, or a forward pass over one. */
type Work = { readonly start: (row: number) => Promise<void>; readonly fail: (error: unknown) => void };

export class Scheduler {
  readonly #leader: Leader;
  readonly #model: number;
  readonly #specification: ModelSpecification;
  readonly #vocabSize: number;
  readonly #waiting: Work[] = [];
  /** Index = cache row. */
  readonly #active: Job[] = [];
  readonly #kept = new KeptRows();
  /** Resolves when nothing is left to do; undefined while there is nothing. */
  #running: Promise<void> | undefined;

  constructor(leader: Leader, model: number, specification: ModelSpecification, vocabSize: number) {
    this.#leader = leader;
    this.#model = model;
    this.#specification = specification;
    this.#vocabSize = vocabSize;
  }

  /** Generates all hypotheses of all prompts; a cancelled request resolves with what it has. */
  async generate(
    request: GenerateRequest,
    signal: AbortSignal,
    onToken: (token: TokenEvent) => void,
  ): Promise<{ sequences: GeneratedSequence[]; statistics: StepStatistics }> {
    const generation: Generation = {
      request,
      signal,
      onToken,
      results: [],
      statistics: startCounting(),
    };
    const { numHypotheses } = request.options;
    const jobs = request.prompts.flatMap((promptIds, promptIndex) =>
      Array.from({ length: numHypotheses }, (_, hypothesis) =>
        this.#submit(generation, promptIds, promptIndex, hypothesis),
      ),
    );
    await Promise.all(jobs);
    const sequences = generation.results.toSorted(
      (a, b) => a.promptIndex - b.promptIndex || a.hypothesis - b.hypothesis,
    );
    return { sequences, statistics: generation.statistics };
  }

  /** The logits of every position of every sequence: per sequence [S, V]. */
  forward(request: ForwardRequest): Promise<Float32Array[]> {
    return Promise.all(
      request.sequences.map(
        (inputIds) =>
          new Promise<Float32Array>((done, fail) =>
            this.#enqueue({ start: async (row) => done(await this.#forwardSequence(inputIds, row)), fail }),
          ),
      ),
    );
  }

  /** Resolves when the requests under way have been answered. */
  async drain(): Promise<void> {
    await this.#running;
  }

  #submit(
    generation: Generation,
    promptIds: readonly number[],
    promptIndex: number,
    hypothesis: number,
  ): Promise<void> {
    const { options } = generation.request;
    const sequence = new Sequence(options, promptIds, {
      stream: promptIndex * options.numHypotheses + hypothesis,
      maxContext: this.#specification.maxContext,
    });
    return new Promise((done, fail) => {
      const job: Job = {
        generation,
        promptIndex,
        hypothesis,
        promptIds,
        sequence,
        length: 0,
        numChosen: 0,
        lastToken: -1,
        settle: { done, fail },
      };
      this.#enqueue({ start: (row) => this.#startJob(job, row), fail });
    });
  }

  #enqueue(work: Work): void {
    this.#waiting.push(work);
    this.#running ??= this.#run();
  }

  /** Until nothing is left: start what waits while there are free rows, else let every active sequence go one token on. */
  async #run(): Promise<void> {
    try {
      while (this.#waiting.length > 0 || this.#active.length > 0) {
        await this.#retire();
        if (this.#waiting.length > 0 && this.#active.length < this.#specification.numRows) {
          await this.#startNext();
        } else if (this.#active.length > 0) {
          await this.#decode();
        }
      }
    } catch (error) {
      this.#kept.clear();
      this.#active.splice(0).forEach((job) => job.settle.fail(error));
      this.#waiting.splice(0).forEach((work) => work.fail(error));
    } finally {
      this.#running = undefined;
    }
  }

  async #startNext(): Promise<void> {
    const work = this.#waiting.shift()!;
    try {
      await work.start(this.#active.length);
    } catch (error) {
      work.fail(error);
      throw error;
    }
  }

  /** Prefills a prompt into its row and chooses its first token. */
  async #startJob(job: Job, row: number): Promise<void> {
    const { promptIds } = job;
    const { statistics } = job.generation;
    job.length = await this.#prepareRow(row, keepsRow(job) ? promptIds : []);
    for (let begin = job.length; begin < promptIds.length && this.#isOpen(job); begin += PREFILL_CHUNK_TOKENS) {
      const chunk = promptIds.slice(begin, begin + PREFILL_CHUNK_TOKENS);
      const isLast = begin + chunk.length === promptIds.length;
      const started = performance.now();
      const result = await this.#leader.step(this.#model, {
        firstRow: row,
        inputIds: [chunk],
        pastLengths: [begin],
        // The head always sees one position, so that no kernel meets an empty tensor; only the last chunk's is wanted.
        positions: [chunk.length - 1],
        want: isLast ? wantFor([job]) : "nothing",
      });
      job.length += chunk.length;
      statistics.prefillTokens += chunk.length;
      statistics.prefillNanoseconds += (performance.now() - started) * 1e6;
      if (isLast) {
        this.#choose(job, result, 0);
      }
    }
    this.#active.push(job);
  }

  /**
   * Makes a free row ready for a sequence, with what is kept of its beginning.
   * @returns how many of the prompt's tokens the row holds
   */
  async #prepareRow(row: number, promptIds: readonly number[]): Promise<number> {
    const prefix = this.#kept.findPrefix(promptIds);
    // Whoever goes on where another sequence ended takes what it kept; whoever shares only its beginning leaves it.
    const takesAll = prefix !== undefined && prefix.numTokens >= this.#kept.tokensOf(prefix.row).length / 2;
    const needed = prefix?.row === row ? undefined : prefix?.row;
    if (prefix?.row !== row || !takesAll) await this.#keepElsewhere(row, row, needed);
    this.#kept.drop(row);
    if (prefix === undefined) return 0;
    const { row: from, numTokens } = prefix;
    if (from !== row) await this.#leader.moveRow(this.#model, { from, to: row, numTokens });
    if (takesAll) this.#kept.drop(from);
    return numTokens;
  }

  /** Copies what a row holds for others into the row from `first` on that is missed least, if that is another. */
  async #keepElsewhere(row: number, first: number, needed?: number): Promise<void> {
    const tokenIds = this.#kept.tokensOf(row);
    const to = this.#kept.findRoom(first, this.#specification.numRows, needed);
    if (tokenIds.length === 0 || to === undefined || to === row) return;
    await this.#leader.moveRow(this.#model, { from: row, to, numTokens: tokenIds.length });
    this.#kept.keep(to, tokenIds);
  }

  async #forwardSequence(inputIds: readonly number[], row: number): Promise<Float32Array> {
    await this.#prepareRow(row, []);
    const logits = new Float32Array(inputIds.length * this.#vocabSize); // [S, V]
    for (let begin = 0; begin < inputIds.length; begin += FORWARD_CHUNK_TOKENS) {
      const chunk = inputIds.slice(begin, begin + FORWARD_CHUNK_TOKENS);
      const result = await this.#leader.step(this.#model, {
        firstRow: row,
        inputIds: [chunk],
        pastLengths: [begin],
        positions: chunk.map((_, index) => index),
        want: "logits",
      });
      logits.set(result.logits!, begin * this.#vocabSize);
    }
    return logits;
  }

  /** One token for every active sequence: [B, 1]. */
  async #decode(): Promise<void> {
    const jobs = [...this.#active];
    const step: Step = {
      firstRow: 0,
      inputIds: jobs.map((job) => [job.lastToken]),
      pastLengths: jobs.map((job) => job.length),
      positions: [0],
      want: wantFor(jobs),
    };
    const started = performance.now();
    const result = await this.#leader.step(this.#model, step);
    const generations = new Set(jobs.map((job) => job.generation));
    jobs.forEach((job, row) => {
      job.length += 1;
      job.generation.statistics.decodeTokens += 1;
      this.#choose(job, result, row);
    });
    const nanoseconds = (performance.now() - started) * 1e6;
    for (const { statistics } of generations) {
      statistics.decodeNanoseconds += nanoseconds;
      statistics.decodeComputeNanoseconds += result.computeNanoseconds;
      statistics.decodeCollectiveNanoseconds += result.collectiveNanoseconds;
    }
  }

  /** Chooses this sequence's next token from the step's outcome at `position`. */
  #choose(job: Job, result: StepResult, position: number): void {
    const { sequence, generation } = job;
    const V = this.#vocabSize;
    // A row of its own: processors write into it.
    const chosen =
      sequence.demand() === "argmax" && result.tokenIds !== undefined
        ? sequence.accept(result.tokenIds[position]!)
        : sequence.next(result.logits!.slice(position * V, (position + 1) * V));
    job.lastToken = chosen.tokenId;
    generation.onToken({
      promptIndex: job.promptIndex,
      hypothesis: job.hypothesis,
      step: job.numChosen++,
      tokenId: chosen.tokenId,
      logProb: chosen.logProb,
      isLast: chosen.finishReason !== undefined,
    });
  }

  #isOpen(job: Job): boolean {
    return job.sequence.finishReason === undefined && !job.generation.signal.aborted;
  }

  /** Takes finished and cancelled sequences out of their rows and closes the gaps, last row first. */
  async #retire(): Promise<void> {
    for (let row = this.#active.length - 1; row >= 0; row--) {
      const job = this.#active[row]!;
      if (this.#isOpen(job)) {
        continue;
      }
      const last = this.#active.pop()!;
      const lastRow = this.#active.length;
      if (keepsRow(job)) this.#kept.keep(row, tokensInRow(job));
      if (last !== job) {
        await this.#keepElsewhere(row, lastRow + 1);
        this.#kept.drop(row);
        await this.#leader.moveRow(this.#model, { from: lastRow, to: row, numTokens: last.length });
        this.#active[row] = last;
      }
      this.#finish(job);
    }
  }

  #finish(job: Job): void {
    const { tokenIds, score, logits, generatedIds } = job.sequence.result();
    const { returnLogitsVocab } = job.generation.request.options;
    job.generation.results.push({
      promptIndex: job.promptIndex,
      hypothesis: job.hypothesis,
      tokenIds,
      generatedIds,
      score,
      logits: returnLogitsVocab ? logits : undefined,
      finishReason: job.sequence.finishReason ?? "cancelled",
    });
    job.settle.done();
  }
}

/** Whether a sequence begins with what others have left, and leaves what it has. */
function keepsRow(job: Job): boolean {
  return job.generation.request.options.cachePrompt;
}

/** The last token that was chosen is not in the row yet. */
function tokensInRow(job: Job): readonly number[] {
  return [...job.promptIds, ...job.sequence.result().generatedIds].slice(0, job.length);
}

/** What a step must bring so that each of these sequences can choose. */
function wantFor(jobs: readonly Job[]): Step["want"] {
  return jobs.every((job) => job.sequence.demand() === "argmax") ? "argmax" : "logits";
}
