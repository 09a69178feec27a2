/**
 * The engine's thread: joins the world, then serves. On the leader it answers the script's requests; on a follower it carries
 * out what the leader broadcasts. A script that computes for minutes on its own thread does not hold it up.
 */
import { Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { parentPort, workerData } from "node:worker_threads";
import { RANK_JOINED, RANK_JOINING, ROOT_RANK } from "../environment.ts";
import { CollectiveError } from "../errors.ts";
import { follow } from "../execute/follower.ts";
import { Leader } from "../execute/leader.ts";
import { Rank } from "../execute/rank.ts";
import { sayAtOnce } from "../log.ts";
import type { Membership } from "../rendezvous/membership.ts";
import {
  announceEnd,
  CONSEQUENCE_DELAY_MS,
  ENGINE_ENDED,
  ENGINE_FAILED,
  flattenError,
  type FromEngine,
  type ToEngine,
} from "./messages.ts";
import { Service } from "./service.ts";
import { drawTransfers } from "./transfer-bars.ts";
import { connectWorld, type WorldSettings } from "./world.ts";

/** What the script's thread hands over when it starts the engine. */
export interface EngineData {
  readonly settings: WorldSettings;
  /** Int32Array(1) of ENGINE_RUNNING, ENGINE_ENDED or ENGINE_FAILED. */
  readonly state: SharedArrayBuffer;
}

/** How long a script may take to end by itself once its rank has failed, before its process is ended. */
const FAILED_SCRIPT_GRACE_MS = 500;
/** A leader that ends closes its connections just after the news that it leaves; the news may be read second. */
const NEWS_DELAY_MS = 500;

const { settings, state } = workerData as EngineData;
const { rank: ownRank, host } = settings.identity;
const port = parentPort!;
const post = (message: FromEngine): void => port.postMessage(message);

// Whoever waits for this thread would wait for ever if it ended without a word.
process.on("uncaughtException", (error) => void fail(error));
const tellAgent = watchAgent();
/** Aborted with the exit code when this rank ends before its time. */
const leaving = new AbortController();
if (settings.identity.worldSize > 1) tellAgent(RANK_JOINING);
if (ownRank === ROOT_RANK) {
  lead();
} else {
  await serve();
}

/** Answers requests until told to leave. A world that does not come together fails every request. */
function lead(): void {
  const opened = connectWorld(settings, leaving.signal).then(({ membership, ...world }) => {
    tellAgent(RANK_JOINED);
    const leader = new Leader(new Rank(world, drawTransfers(settings.terminalColumns)), (error) =>
      membership?.reportFailure(ownRank, error.message),
    );
    return { service: new Service(leader, post, settings.rankWeights), membership };
  });
  opened.catch(() => undefined); // told to each request
  port.on("message", (message: ToEngine) => {
    if (message.kind === "leave") {
      void leave(message.exitCode);
      return;
    }
    opened.then(
      ({ service }) =>
        message.kind === "cancel" ? service.cancel(message.id) : void service.answer(message.id, message),
      (error: unknown) => post({ kind: "error", id: message.id, error: flattenError(error) }),
    );
  });

  async function leave(exitCode: number): Promise<void> {
    if (exitCode !== 0) leaving.abort(exitCode);
    const world = await opened.catch(() => undefined);
    if (exitCode === 0) {
      await world?.service.close();
    }
    await world?.membership?.leave(exitCode);
    end(ENGINE_ENDED);
  }
}

/** Follows until the leader has left. */
async function serve(): Promise<void> {
  let membership: Membership | undefined;
  let hasLeaderLeft = false;
  port.on("message", (message: ToEngine) => {
    if (message.kind === "leave") {
      leaving.abort(message.exitCode);
      void membership?.leave(message.exitCode).then(() => end(ENGINE_FAILED));
    }
  });
  try {
    const world = await connectWorld(settings, leaving.signal);
    tellAgent(RANK_JOINED);
    ({ membership } = world);
    membership!.onLeft((rank) => {
      if (rank === ROOT_RANK) {
        hasLeaderLeft = true;
        world.abort("Rank 0 has left.", ROOT_RANK);
      }
    });
    const rank = new Rank(world);
    await follow(rank, async () => hasLeaderLeft || (await sleep(NEWS_DELAY_MS), hasLeaderLeft));
    await rank.close();
    await membership!.leave(0);
    end(ENGINE_ENDED);
  } catch (error) {
    if (leaving.signal.aborted) return end(ENGINE_FAILED);
    await fail(error as Error);
    await membership?.leave(1);
  }
}

/** Ends the thread. */
function end(value: typeof ENGINE_ENDED | typeof ENGINE_FAILED): void {
  announceEnd(state, value);
  port.close();
}

/** This rank cannot go on: says so, and ends the process if its script does not. */
async function fail(error: Error): Promise<void> {
  sayAtOnce(`rank ${ownRank} (${host}): ${error.message}`);
  if (error instanceof CollectiveError) {
    await sleep(CONSEQUENCE_DELAY_MS);
  }
  post({ kind: "failed", error: flattenError(error) });
  setTimeout(() => process.kill(process.pid, "SIGTERM"), FAILED_SCRIPT_GRACE_MS);
  end(ENGINE_FAILED);
}

/**
 * The launcher's agent holds the other end of this descriptor: when it closes, the agent is gone and so must be its ranks. The
 * returned function tells the agent how far this rank is.
 */
function watchAgent(): (word: string) => void {
  if (settings.agentFd === undefined) return () => {};
  const agent = new Socket({ fd: settings.agentFd });
  agent.on("error", () => agent.destroy());
  agent.on("close", () => process.kill(process.pid, "SIGKILL"));
  agent.resume();
  agent.unref();
  return (word) => void agent.write(word);
}
