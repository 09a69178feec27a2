/**
 * Rank 0 decides: it broadcasts each command and carries out its own part of it.
 * One command at a time, so that every rank meets the same collectives in the same order whatever callers overlap.
 */
import type { MeasuredCalls } from "../collective/native.ts";
import { ExecutionError, ShardrunError } from "../errors.ts";
import type { RankProfile } from "./profile.ts";
import type { HostTransfer } from "./provide-model.ts";
import type { MeasuredCollectives, Rank, RankReport } from "./rank.ts";
import type { StepResult } from "./shard-model.ts";
import { encodeCommand, type Command, type ModelSpecification, type RowMove, type Step } from "./step.ts";

export class Leader {
  readonly #rank: Rank;
  #turn: Promise<unknown> = Promise.resolve();
  readonly #onBroken: (error: Error) => void;
  #broken: Error | undefined;

  /** @param onBroken called once, when a command has failed part way: the other ranks may be waiting in a collective */
  constructor(rank: Rank, onBroken: (error: Error) => void) {
    this.#rank = rank;
    this.#onBroken = onBroken;
  }

  /**
   * @returns what was sent to hosts without a copy of the model
   * @throws the reason when a rank cannot load its shard; nothing is loaded anywhere then
   */
  async load(model: number, specification: ModelSpecification): Promise<readonly HostTransfer[]> {
    const outcome = await this.#lead({ kind: "load", model, specification }, () =>
      this.#rank.load(model, specification),
    );
    if (outcome.failure !== undefined) {
      throw outcome.failure;
    }
    return outcome.transfers;
  }

  step(model: number, step: Step): Promise<StepResult> {
    return this.#lead({ kind: "step", model, step }, () => this.#rank.step(model, step));
  }

  moveRow(model: number, move: RowMove): Promise<void> {
    return this.#lead({ kind: "moveRow", model, move }, () => this.#rank.moveRow(model, move));
  }

  unload(model: number): Promise<void> {
    return this.#lead({ kind: "unload", model }, () => this.#rank.unload(model));
  }

  measure(calls: MeasuredCalls): Promise<MeasuredCollectives> {
    return this.#lead({ kind: "measure", calls }, () => this.#rank.measure(calls));
  }

  profile(model: number): Promise<RankProfile[]> {
    return this.#lead({ kind: "profile", model }, () => this.#rank.profile(model));
  }

  report(): Promise<RankReport[]> {
    return this.#lead({ kind: "report" }, () => this.#rank.report());
  }

  /** Lets this rank's models go, after the command under way. */
  close(): Promise<void> {
    return this.#turn.then(() => this.#rank.close());
  }

  /** Broadcasts the command when its turn has come, and does this rank's part. */
  #lead<T>(command: Command, doOwnPart: () => Promise<T> | T): Promise<T> {
    const result = this.#turn.then(async () => {
      if (this.#broken !== undefined) {
        throw new ExecutionError(`The ranks stopped working together: ${this.#broken.message}`, {
          ...(this.#broken instanceof ShardrunError ? { rank: this.#broken.rank, host: this.#broken.host } : {}),
          cause: this.#broken,
        });
      }
      try {
        // This rank's part lines up behind the command on the communicator's thread, which need not wait for this one in between.
        const told = this.#rank.communicator.broadcastMessage(encodeCommand(command), 0, { label: command.kind });
        const [telling, own] = await Promise.allSettled([told, (async () => doOwnPart())()]);
        if (telling.status === "rejected") throw telling.reason;
        if (own.status === "rejected") throw own.reason;
        return own.value;
      } catch (error) {
        this.#break(error as Error);
        throw error;
      }
    });
    this.#turn = result.catch(() => undefined);
    return result;
  }

  /** The ranks no longer agree on what comes next; a rank alone always agrees with itself. */
  #break(error: Error): void {
    if (this.#broken === undefined && this.#rank.communicator.worldSize > 1) {
      this.#broken = error;
      this.#onBroken(error);
    }
  }
}
