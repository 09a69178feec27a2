/**
 * The leader's side of the engine: requests of the script become commands to all ranks, replies go back.
 * One scheduler per loaded model.
 */
import { InternalError } from "../errors.ts";
import type { Leader } from "../execute/leader.ts";
import { flattenError, type FromEngine, type LoadRequest, type Replies, type Request } from "./messages.ts";
import { Scheduler } from "./scheduler.ts";

/** Cache rows: sequences decoded together. Rows that are never reached cost address space only. */
const NUM_ROWS = 32;

export class Service {
  readonly #leader: Leader;
  readonly #schedulers = new Map<number, Scheduler>();
  readonly #cancellations = new Map<number, AbortController>();
  readonly #post: (message: FromEngine) => void;
  readonly #rankWeights: readonly number[] | undefined;
  #numModels = 0;

  /** @param rankWeights how much of each model a rank takes, compared with the others */
  constructor(leader: Leader, post: (message: FromEngine) => void, rankWeights?: readonly number[]) {
    this.#leader = leader;
    this.#post = post;
    this.#rankWeights = rankWeights;
  }

  /** Carries out one request and posts its reply or its error. */
  async answer(id: number, request: Request): Promise<void> {
    const cancellation = new AbortController();
    this.#cancellations.set(id, cancellation);
    try {
      this.#post({ kind: "reply", id, value: await this.#carryOut(id, request, cancellation.signal) });
    } catch (error) {
      this.#post({ kind: "error", id, error: flattenError(error) });
    } finally {
      this.#cancellations.delete(id);
    }
  }

  /** Stops the requests under way, between two steps. */
  async close(): Promise<void> {
    this.#cancellations.forEach((cancellation) => cancellation.abort());
    await this.#leader.close();
  }

  cancel(id: number): void {
    this.#cancellations.get(id)?.abort();
  }

  async #carryOut(id: number, request: Request, signal: AbortSignal): Promise<Replies[Request["kind"]]> {
    switch (request.kind) {
      case "load":
        return this.#load(request.load);
      case "generate": {
        const { generate } = request;
        return this.#scheduler(generate.model).generate(generate, signal, (token) => {
          if (generate.stream) {
            this.#post({ kind: "token", id, token });
          }
        });
      }
      case "forward":
        return { logits: await this.#scheduler(request.forward.model).forward(request.forward) };
      case "unload":
        await this.#scheduler(request.model).drain();
        this.#schedulers.delete(request.model);
        await this.#leader.unload(request.model);
        return undefined;
      case "measure":
        return this.#leader.measure(request.calls);
      case "profile":
        return this.#leader.profile(request.model);
      case "report":
        return this.#leader.report();
    }
  }

  async #load(load: LoadRequest): Promise<Replies["load"]> {
    const { vocabSize, ...options } = load;
    const specification = { ...options, numRows: NUM_ROWS, rankWeights: this.#rankWeights };
    const model = this.#numModels++;
    const transfers = await this.#leader.load(model, specification);
    this.#schedulers.set(model, new Scheduler(this.#leader, model, specification, vocabSize));
    return { model, transfers };
  }

  #scheduler(model: number): Scheduler {
    const scheduler = this.#schedulers.get(model);
    if (scheduler === undefined) {
      throw new InternalError(`A request names model ${model}, which is not loaded.`);
    }
    return scheduler;
  }
}
