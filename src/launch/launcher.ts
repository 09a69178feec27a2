/**
 * The launcher: options and a command in, the exit code of the run out. It places the ranks, has the agents start them,
 * carries output, input and signals, and sees to it that the run ends as a whole: the first rank that fails
 * ends the others, and nothing is left over when `launch` returns.
 */
import { resolve } from "node:path";
import { definedVariables, inheritedVariables, ROOT_RANK, type Variables } from "../environment.ts";
import { UsageError } from "../errors.ts";
import { say, warn } from "../log.ts";
import { AgentGroup } from "./agent-group.ts";
import { bindRank, drawBinding } from "./binding.ts";
import { findCoordinatorAddress, type GreetedHost } from "./coordinator-address.ts";
import { createRun } from "./run-identity.ts";
import type { Host, NamedHost } from "./hosts.ts";
import type { AgentJob, RankExit, RankJob, Refusal } from "./job.ts";
import type { LaunchOptions } from "./options.ts";
import { describeExit, exitCodeOf, findRootCause } from "./outcome.ts";
import { ownStreams } from "./own-streams.ts";
import { countSlots, drawMap, placeRanks, type RankPlace } from "./placement.ts";
import { deviceVariables, rankVariables, resolveExports, runVariables } from "./rank-environment.ts";
import { RankOutput } from "./rank-output.ts";
import { forwardSignals } from "./signals.ts";
import { StdinFeed } from "./stdin-feed.ts";
import { findHosts, type ReachableHost } from "./targets.ts";

/** As mpirun has it. */
const EXIT_CODE_TIMEOUT = 110;
/** mpirun's answer to SIGINT and SIGTERM, and ours whenever a run is ended from outside. */
const EXIT_CODE_STOPPED = 1;
/** 128 + SIGPIPE, what a shell shows for a program whose reader has gone. */
export const EXIT_CODE_READER_GONE = 141;

/** Of a terminal that does not know its width. */
const USUAL_COLUMNS = 80;
const FAILURE_GRACE_MS = 500;
/** A user who stops a run lets its ranks finish what they are at. */
const STOP_GRACE_MS = 5000;

/** What every rank runs: a program with its arguments, or a ready-made one of shardrun's own. */
export interface RankCommand {
  readonly words: readonly string[];
  /** A file of shardrun's compiled code, of which `words` are the arguments. */
  readonly entry?: string;
}

/**
 * Runs a command as the ranks of one world and waits for its end.
 * @returns the exit code: 0, or the first failing rank's (128 + signal for a death by signal), 110 on timeout, 132 without
 *   a program, 135 without a working directory, 1 when stopped by a signal, 141 when the reader of stdout has gone
 * @throws {UsageError} when options contradict each other, the hosts, or their slots
 * @throws {LaunchError} when a host cannot be reached or cannot take part; nothing runs anywhere then
 */
export async function launch(options: LaunchOptions, command: RankCommand): Promise<number> {
  const variables = inheritedVariables();
  const found = findHosts(options, variables);
  const named = found.map((host) => host.named);
  const agents = new AgentGroup(variables);
  try {
    const hosts = await countSlotsOf(found, agents);
    const places = placeRanks(hosts, options);
    if (options.displayMap) process.stderr.write(drawMap(hosts, places));
    const used = found.filter(({ target }) => places.some(({ host }) => host === target.name));
    const hellos = await agents.connect(used);
    const greeted = used.map(({ target: { name, ssh } }, index): GreetedHost => ({
      name,
      isRemote: ssh !== undefined,
      hello: hellos[index]!,
    }));
    const jobs = planJobs(options, command, variables, { named, numSlots: countSlots(hosts), places, hosts: greeted });
    return await new Run(options, jobs, greeted, agents).finish();
  } catch (error) {
    await agents.close();
    throw error;
  }
}

/** Hosts with their slots; the agent of a host that was named without any says how many cores it has. */
async function countSlotsOf(found: readonly ReachableHost[], agents: AgentGroup): Promise<readonly Host[]> {
  await agents.connect(found.filter(({ named }) => named.slots === undefined));
  return Promise.all(
    found.map(async ({ named: { name, slots } }) => ({
      name,
      slots: slots ?? (await agents.agentOf(name).hello).cores.length,
    })),
  );
}

/** Which rank runs where, on hosts whose agents have answered. */
interface Placement {
  readonly named: readonly NamedHost[];
  readonly numSlots: number;
  readonly places: readonly RankPlace[];
  readonly hosts: readonly GreetedHost[];
}

/** What each host's agent is to start; on the way, says which -x could not be followed. */
function planJobs(
  options: LaunchOptions,
  command: RankCommand,
  variables: Variables,
  { named, numSlots, places, hosts }: Placement,
): readonly AgentJob[] {
  const stdinRank = stdinRankOf(options.stdinRank ?? ROOT_RANK, places.length);
  const exports = resolveExports(options.exports, variables);
  exports.warnings.forEach(warn);
  const [root, ...others] = hosts as [GreetedHost, ...GreetedHost[]];
  const coordinator = { host: findCoordinatorAddress(root, others, options.interface), port: root.hello.freePort };
  const run = createRun({
    worldSize: places.length,
    numSlots,
    coordinator,
    startTimeoutMs: options.startTimeoutMs,
    rankWeights: weighRanks(named, places),
    tls: options.tls,
  });
  return hosts.map(({ name, isRemote, hello }): AgentJob => {
    const ofHost = places.filter(({ host }) => host === name);
    const devices = named.find((host) => host.name === name)?.devices;
    const ranks = ofHost.map((place): RankJob => ({
      rank: place.rank,
      environment: { ...rankVariables(place), ...deviceVariables(devices, place) },
      processors: bindRank(hello, place, options),
    }));
    const inherited = isRemote ? {} : definedVariables(variables);
    // Where every host has an interface of that name, collectives take it too.
    const isNamed = options.interface !== undefined && hello.addresses[options.interface] !== undefined;
    return {
      host: name,
      command: command.words,
      entry: command.entry,
      workingDirectory: resolve(options.workingDirectory ?? "."),
      mayBeginAtHome: isRemote && options.workingDirectory === undefined,
      environment: {
        ...inherited,
        ...exports.variables,
        ...runVariables(run),
        SHARDRUN_TERMINAL_COLUMNS: String(terminalColumns(options)),
        ...(isNamed ? { SHARDRUN_INTERFACE: options.interface } : {}),
      },
      addsHostEnvironment: isRemote,
      ranks,
      stdinRank: ranks.some(({ rank }) => rank === stdinRank) ? stdinRank : undefined,
    };
  });
}

/** Of the terminal that shows the ranks' standard error as they write it; 0: there is none. */
function terminalColumns({ tagOutput, timestampOutput }: LaunchOptions): number {
  return tagOutput || timestampOutput || !process.stderr.isTTY ? 0 : process.stderr.columns || USUAL_COLUMNS;
}

/** Each rank's weight, that of its host; undefined where no host that is used has any. */
function weighRanks(named: readonly NamedHost[], places: readonly RankPlace[]): readonly number[] | undefined {
  const weights = places.map(({ host }) => named.find(({ name }) => name === host)?.weight);
  return weights.every((weight) => weight === undefined) ? undefined : weights.map((weight) => weight ?? 1);
}

/** One run, from the start of its ranks to its last line. */
class Run {
  readonly #options: LaunchOptions;
  readonly #jobs: readonly AgentJob[];
  readonly #hosts: readonly GreetedHost[];
  readonly #agents: AgentGroup;
  readonly #output: RankOutput;
  readonly #worldSize: number;
  /** Undefined when no rank reads standard input. */
  readonly #stdin: StdinFeed | undefined;
  readonly #exits: RankExit[] = [];
  #refusal: Refusal | undefined;
  /** Why the launcher itself ended the run, if it did. */
  #stopped: { readonly exitCode: number; readonly message?: string } | undefined;

  constructor(options: LaunchOptions, jobs: readonly AgentJob[], hosts: readonly GreetedHost[], agents: AgentGroup) {
    this.#options = options;
    this.#jobs = jobs;
    this.#hosts = hosts;
    this.#agents = agents;
    this.#worldSize = jobs.reduce((sum, { ranks }) => sum + ranks.length, 0);
    const streams = ownStreams({ isDialogue: options.prompt !== undefined });
    this.#output = new RankOutput({ ...options, worldSize: this.#worldSize }, streams, {
      room: () => agents.resume(),
      readerGone: () => this.#stop({ exitCode: EXIT_CODE_READER_GONE }, FAILURE_GRACE_MS),
      fileFailed: ({ message }) => this.#stop({ exitCode: EXIT_CODE_STOPPED, message }, FAILURE_GRACE_MS),
    });
    const reader = jobs.find(({ stdinRank }) => stdinRank !== undefined);
    const { prompt } = options;
    const dialogue = prompt === undefined ? undefined : { prompt, interrupt: () => void agents.signal("SIGINT") };
    this.#stdin = reader && new StdinFeed(process.stdin, agents.agentOf(reader.host), dialogue);
    agents.start(jobs, {
      refused: (refusal) => {
        this.#refusal ??= refusal;
        agents.terminate(FAILURE_GRACE_MS);
      },
      started: (rank, pid) => this.#reportStart(rank, pid),
      joining: () => agents.watchStopped(),
      output: (rank, stream, chunk) => {
        this.#output.push(rank, stream, chunk);
        if (this.#output.isCongested) agents.pause();
      },
      stdinTaken: () => this.#stdin?.next(),
      exited: (exit) => {
        this.#exits.push(exit);
        if (exit.rank === reader?.stdinRank) this.#stdin?.stop();
        if (findRootCause([exit]) !== undefined) agents.terminate(FAILURE_GRACE_MS);
      },
      ended: (rank) => this.#output.end(rank),
    });
  }

  /** Waits for the end of the run; its exit code. */
  async finish(): Promise<number> {
    this.#stdin?.start();
    const actions = {
      stop: (signal: NodeJS.Signals) => {
        const message = `${signal} received: the ranks were ended.`;
        this.#stop({ exitCode: EXIT_CODE_STOPPED, message }, STOP_GRACE_MS);
      },
      kill: () => this.#agents.terminate(0),
      forward: (signal: NodeJS.Signals) => this.#agents.signal(signal),
      resumed: () => this.#stdin?.start(),
    };
    const stopForwarding = forwardSignals(actions, this.#options.prompt !== undefined);
    const timer = this.#startTimer();
    const agentFailure = await this.#agents.gone();
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
    this.#agents.terminate(graceMs);
  }

  #reportStart(rank: number, pid: number): void {
    if (!this.#options.reportBindings) return;
    const index = this.#jobs.findIndex(({ ranks }) => ranks.some((job) => job.rank === rank));
    const { processors } = this.#jobs[index]!.ranks.find((job) => job.rank === rank)!;
    const { name, hello } = this.#hosts[index]!;
    const bound = hello.cores.filter((core) => core.some((processor) => processors?.includes(processor)));
    const binding =
      processors === undefined
        ? "is not bound (or bound to all available processors)"
        : `bound to ${drawBinding(hello.cores, bound)}`;
    process.stderr.write(`[${name}:${pid}] rank ${rank} ${binding}\n`);
  }

  /** Says in one line what went wrong, if anything did. */
  #conclude(agentFailure: string | undefined): number {
    if (this.#stopped !== undefined) {
      if (this.#stopped.message !== undefined) say(this.#stopped.message);
      return this.#stopped.exitCode;
    }
    if (this.#refusal !== undefined) {
      say(this.#refusal.message);
      return this.#refusal.exitCode;
    }
    // Ranks notice a lost host before its connection is seen to break, and exit: that is its consequence.
    const cause = findRootCause(this.#exits);
    if (cause !== undefined && (agentFailure === undefined || cause.signal !== null)) {
      const others = this.#worldSize > 1 ? "; the other ranks were ended" : "";
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
