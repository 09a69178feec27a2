/**
 * The world that this process belongs to, and the engines that it started.
 * Importing shardrun under a launcher starts this rank's engine at once: a follower serves from then on, whatever its script
 * does, and goes on serving after its script has ended, until the leader has left.
 */
import { readEnvironment, ROOT_RANK, type Environment } from "../environment.ts";
import { Engine } from "../engine/engine.ts";
import { CONSEQUENCE_DELAY_MS } from "../engine/messages.ts";
import { type LocalFollowers, startLocalFollowers } from "../launch/local.ts";

/** How long the leader's process waits at its end for the news to reach the followers, once all have joined. */
const LEAVE_TIMEOUT_MS = 5_000;
/** A rank that fails says so, but is not held up by it: its broken connections tell the others as well. */
const FAILED_LEAVE_TIMEOUT_MS = 300;

export const environment: Environment = readEnvironment();

/** The engine of the world that a launcher started; undefined when this process was started alone. */
const worldEngine = environment.identity.worldSize > 1 ? startWorldEngine(environment) : undefined;

/** The engine for a model that all ranks share, and whether this rank leads. */
export interface EngineOfModel {
  readonly engine: Engine;
  readonly isLeader: boolean;
  /** Ends what was started for this model; the engine of a launcher's world goes on. */
  readonly close: () => Promise<void>;
}

/** The engine of this launcher's whole world. */
export function shareWorld(): EngineOfModel | undefined {
  const isLeader = environment.identity.rank === ROOT_RANK;
  return worldEngine && { engine: worldEngine, isLeader, close: () => Promise.resolve() };
}

/** An engine for a model of this process alone. */
export function startAlone(): EngineOfModel {
  const identity = { ...environment.identity, rank: 0, worldSize: 1, localRank: 0 };
  const engine = new Engine({ ...environment, identity, agentFd: undefined, rankWeights: undefined });
  return { engine, isLeader: true, close: () => engine.close() };
}

/** This process becomes rank 0 of a world of `worldSize` ranks, the others being local processes that it starts. */
export async function startWithLocalFollowers(worldSize: number): Promise<EngineOfModel> {
  return leadFollowers(await startLocalFollowers({ worldSize }), environment);
}

/** Variables that the ranks of one world are given, and those of another must not see. */
const OF_ONE_WORLD = [
  "SHARDRUN_RANK_WEIGHTS",
  "SHARDRUN_COLLECTIVES",
  "SHARDRUN_INTERFACE",
  "SHARDRUN_TLS_CERT",
  "SHARDRUN_TLS_KEY",
  "SHARDRUN_TLS_CA",
];

/** So many ranks of this host alone, even where this process is a rank of another world. */
export async function startOnThisHost(worldSize: number): Promise<EngineOfModel> {
  if (worldSize === 1) return startAlone();
  return leadFollowers(await startLocalFollowers({ worldSize, withoutVariables: OF_ONE_WORLD }), {
    ...environment,
    hosts: "one",
    networkInterface: undefined,
    rankWeights: undefined,
    tls: undefined,
    agentFd: undefined,
    collectives: "auto",
  });
}

function leadFollowers(followers: LocalFollowers, settings: Environment): EngineOfModel {
  const engine = new Engine({ ...settings, ...followers.settings });
  void followers.failed.then((error) => engine.fail(error));
  const close = async (): Promise<void> => {
    await engine.close();
    await followers.close();
  };
  return { engine, isLeader: true, close };
}

function startWorldEngine(settings: Environment): Engine {
  const isLeader = settings.identity.rank === ROOT_RANK;
  const engine = new Engine(settings, () => {
    if (!isLeader) {
      process.exit(1);
    }
  });
  process.once("exit", (exitCode) => {
    if (exitCode !== 0) {
      if (engine.hasLostPeer) {
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, CONSEQUENCE_DELAY_MS);
      }
      engine.leave(exitCode);
      engine.waitUntilEnded(FAILED_LEAVE_TIMEOUT_MS);
    } else if (isLeader) {
      engine.leave(exitCode);
      engine.waitUntilEnded(settings.startTimeoutMs + LEAVE_TIMEOUT_MS);
    } else if (!engine.waitUntilEnded()) {
      process.exitCode = 1;
    }
  });
  return engine;
}
