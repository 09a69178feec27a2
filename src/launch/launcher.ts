/**
 * The launcher: options and a command in, the exit code of the run out. It places the ranks, has the agent start them,
 * carries output, input and signals, and sees to it that the run ends as a whole: the first rank that fails
 * ends the others, and nothing is left over when `launch` returns.
 */
import { resolve } from "node:path";
import { inheritedVariables, ROOT_RANK, type Variables } from "../environment.ts";
import { UsageError } from "../errors.ts";
import { say, warn } from "../log.ts";
import { AgentConnection } from "./agent-connection.ts";
import { createRun } from "./run-identity.ts";
import { chooseHosts, type Host } from "./hosts.ts";
import { type AgentJob, type RankExit, type RankJob, type Refusal } from "./job.ts";
import type { LaunchOptions } from "./options.ts";
import { describeExit, exitCodeOf, findRootCause } from "./outcome.ts";
import { countSlots, placeRanks, type RankPlace } from "./placement.ts";
import { type Core, drawBinding, listCores, shareOfCores } from "./processors.ts";
import { definedVariables, rankVariables, resolveExports, runVariables } from "./rank-environment.ts";
import { RankOutput } from "./rank-output.ts";
import { forwardSignals } from "./signals.ts";
import { StdinFeed } from "./stdin-feed.ts";

/** As mpirun has it. */
const EXIT_CODE_TIMEOUT = 110;
/** mpirun's answer to SIGINT and SIGTERM, and ours whenever a run is ended from outside. */
const EXIT_CODE_STOPPED = 1;
/** 128 + SIGPIPE, what a shell shows for a program whose reader has gone. */
export const EXIT_CODE_READER_GONE = 141;

const FAILURE_GRACE_MS = 500;
/** A user who stops a run lets its ranks finish what they are at. */
const STOP_GRACE_MS = 5000;

/**
 * Runs a command as the ranks of one world and waits for its end.
 * @returns the exit code: 0, or the first failing rank's (128 + signal for a death by signal), 110 on timeout, 132 without
 *   a program, 135 without a working directory, 1 when stopped by a signal, 141 when the reader of stdout has gone
 * @throws {UsageError} when options contradict each other, the hosts, or their slots
 */
export async function launch(options: LaunchOptions, command: readonly string[]): Promise<number> {
  const variables = inheritedVariables();
  const cores = listCores();
  const hosts = chooseHosts({ hostfile: options.hostfile, hostLists: options.hostLists }, cores.length);
  const places = placeRanks(hosts, options);
  if (options.bindTo === "core") requireCores(places, cores);
  const job = await planJob(options, command, variables, hosts, places, cores);
  return new Run(options, job, variables, cores).finish();
}

/** What the agent is to start; on the way, says which -x could not be followed. */
async function planJob(
  options: LaunchOptions,
  command: readonly string[],
  variables: Variables,
  hosts: readonly Host[],
  places: readonly RankPlace[],
  cores: readonly Core[],
): Promise<AgentJob> {
  const exports = resolveExports(options.exports, variables);
  exports.warnings.forEach(warn);
  const { startTimeoutMs } = options;
  const run = await createRun({ worldSize: places.length, numSlots: countSlots(hosts), startTimeoutMs });
  const ranks = places.map((place): RankJob => {
    const bound = options.bindTo === "core" ? shareOfCores(cores, place.localRank, place.localWorldSize) : undefined;
    return { rank: place.rank, environment: rankVariables(place), processors: bound?.flat() };
  });
  return {
    host: hosts[0]!.name,
    command,
    workingDirectory: resolve(options.workingDirectory ?? "."),
    environment: { ...definedVariables(variables), ...exports.variables, ...runVariables(run) },
    ranks,
    stdinRank: stdinRankOf(options.stdinRank ?? ROOT_RANK, places.length),
  };
}

const OWN_STREAMS = { stdout: process.stdout, stderr: process.stderr };

/** One run, from the start of its agent to its last line. */
class Run {
  readonly #options: LaunchOptions;
  readonly #job: AgentJob;
  readonly #cores: readonly Core[];
  readonly #agent: AgentConnection;
  readonly #output: RankOutput;
  /** Undefined when no rank reads standard input. */
  readonly #stdin: StdinFeed | undefined;
  readonly #exits: RankExit[] = [];
  #refusal: Refusal | undefined;
  /** Why the launcher itself ended the run, if it did. */
  #stopped: { readonly exitCode: number; readonly message?: string } | undefined;

  constructor(options: LaunchOptions, job: AgentJob, variables: Variables, cores: readonly Core[]) {
    this.#options = options;
    this.#job = job;
    this.#cores = cores;
    this.#output = new RankOutput({ ...options, worldSize: job.ranks.length }, OWN_STREAMS, {
      room: () => this.#agent.resume(),
      readerGone: () => this.#stop({ exitCode: EXIT_CODE_READER_GONE }, FAILURE_GRACE_MS),
      fileFailed: ({ message }) => this.#stop({ exitCode: EXIT_CODE_STOPPED, message }, FAILURE_GRACE_MS),
    });
    this.#agent = new AgentConnection(job, variables, {
      refused: (refusal) => (this.#refusal ??= refusal),
      started: (rank, pid) => this.#reportStart(rank, pid),
      output: (rank, stream, chunk) => {
        this.#output.push(rank, stream, chunk);
        if (this.#output.isCongested) this.#agent.pause();
      },
      stdinTaken: () => this.#stdin?.next(),
      exited: (exit) => {
        this.#exits.push(exit);
        if (exit.rank === job.stdinRank) this.#stdin?.stop();
      },
      ended: (rank) => this.#output.end(rank),
    });
    this.#stdin = job.stdinRank === undefined ? undefined : new StdinFeed(process.stdin, this.#agent);
  }

  /** Waits for the end of the run; its exit code. */
  async finish(): Promise<number> {
    this.#stdin?.start();
    const stopForwarding = forwardSignals({
      stop: (signal) => {
        const message = `${signal} received: the ranks were ended.`;
        this.#stop({ exitCode: EXIT_CODE_STOPPED, message }, STOP_GRACE_MS);
      },
      kill: () => this.#agent.terminate(0),
      forward: (signal) => this.#agent.signal(signal),
      resumed: () => this.#stdin?.start(),
    });
    const timer = this.#startTimer();
    const agentFailure = await this.#agent.gone;
    clearTimeout(timer);
    this.#stdin?.stop();
    await this.#output.close();
    stopForwarding();
    return this.#conclude(agentFailure);
  }

  #startTimer(): NodeJS.Timeout | undefined {
    const { timeoutMs } = this.#options;
    if (timeoutMs === undefined) return undefined;
    const message = `the time limit of ${timeoutMs / 1000} s (--timeout) was reached: the ranks were ended.`;
    return setTimeout(() => this.#stop({ exitCode: EXIT_CODE_TIMEOUT, message }, FAILURE_GRACE_MS), timeoutMs);
  }

  /** Ends the run from here; what ended it first counts. */
  #stop(reason: { readonly exitCode: number; readonly message?: string }, graceMs: number): void {
    if (findRootCause(this.#exits) === undefined) this.#stopped ??= reason;
    this.#agent.terminate(graceMs);
  }

  #reportStart(rank: number, pid: number): void {
    if (!this.#options.reportBindings) return;
    const { processors } = this.#job.ranks[rank]!;
    const bound = this.#cores.filter((core) => core.some((processor) => processors?.includes(processor)));
    const binding =
      processors === undefined
        ? "is not bound (or bound to all available processors)"
        : `bound to ${drawBinding(this.#cores, bound)}`;
    process.stderr.write(`[${this.#job.host}:${pid}] rank ${rank} ${binding}\n`);
  }

  /** Says in one line what went wrong, if anything did. */
  #conclude(agentFailure: string | undefined): number {
    const cause = findRootCause(this.#exits);
    if (this.#stopped !== undefined) {
      if (this.#stopped.message !== undefined) say(this.#stopped.message);
      return this.#stopped.exitCode;
    }
    if (this.#refusal !== undefined) {
      say(this.#refusal.message);
      return this.#refusal.exitCode;
    }
    if (cause !== undefined) {
      const others = this.#job.ranks.length > 1 ? "; the other ranks were ended" : "";
      say(`${describeExit(cause)}${others}.`);
      return exitCodeOf(cause);
    }
    if (agentFailure !== undefined) {
      say(agentFailure);
      return EXIT_CODE_STOPPED;
    }
    return 0;
  }
}

/** @throws {UsageError} when no such rank is started */
function stdinRankOf(asked: number | "none", worldSize: number): number | undefined {
  if (asked === "none") return undefined;
  if (asked < worldSize) return asked;
  throw new UsageError(
    `--stdin ${asked} names a rank that is not started: there are ${worldSize}, 0 to ${worldSize - 1}.`,
  );
}

/** @throws {UsageError} when ranks would share a core although they were to be bound to their own */
function requireCores(places: readonly RankPlace[], cores: readonly Core[]): void {
  const numRanks = places[0]?.localWorldSize ?? 0;
  if (numRanks <= cores.length) return;
  throw new UsageError(
    `--bind-to core cannot give ${numRanks} ranks a core of their own: this host has ${cores.length}. ` +
      `Ask for at most ${cores.length} ranks, or leave out --bind-to.`,
  );
}
