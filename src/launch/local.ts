/**
 * A world without a launcher: a plain node process becomes rank 0 and starts the other ranks itself, through an agent
 * like the launcher's. They run nothing but shardrun, serve rank 0, and end with it, however it ends.
 */
import { fileURLToPath } from "node:url";
import { definedVariables, type Environment, inheritedVariables, ROOT_RANK } from "../environment.ts";
import { LaunchError } from "../errors.ts";
import { AgentConnection } from "./agent-connection.ts";
import type { RankExit } from "./job.ts";
import { LineMerger } from "./line-merger.ts";
import { describeExit, findRootCause } from "./outcome.ts";
import { placeRanks } from "./placement.ts";
import { rankVariables, runVariables } from "./rank-environment.ts";
import { createRun, findFreePort, LOOPBACK } from "./run-identity.ts";
import { thisHostName } from "./this-host.ts";

export interface LocalFollowersOptions {
  /** Rank 0 included. */
  readonly worldSize: number;
  /** The script of the followers; by default shardrun itself, which serves from its import on. */
  readonly entry?: string;
  /** Variables of this process that are not for them. */
  readonly withoutVariables?: readonly string[];
}

/** The ranks 1 to worldSize - 1, as the process that is rank 0 sees them. */
export interface LocalFollowers {
  /** Who rank 0 is: what its environment would say had a launcher started it. */
  readonly settings: Pick<Environment, "identity" | "coordinator" | "secret" | "runId">;
  /** Resolves when a follower has failed; never rejects. */
  readonly failed: Promise<LaunchError>;
  /** Ends the followers; resolves when they are gone. */
  readonly close: () => Promise<void>;
}

const CLOSE_GRACE_MS = 500;

/** Starts the followers of this process. They do not keep it alive. */
export async function startLocalFollowers({
  worldSize,
  entry,
  withoutVariables = [],
}: LocalFollowersOptions): Promise<LocalFollowers> {
  const host = thisHostName();
  const script = entry ?? fileURLToPath(new URL("../index.js", import.meta.url));
  const run = createRun({
    worldSize,
    numSlots: worldSize,
    coordinator: { host: LOOPBACK, port: await findFreePort() },
  });
  const followers = placeRanks([{ name: host, slots: worldSize }], { oversubscribe: false }).slice(1);
  const job = {
    host,
    command: [process.execPath, script],
    workingDirectory: process.cwd(),
    environment: {
      ...definedVariables({
        ...inheritedVariables(),
        ...Object.fromEntries(withoutVariables.map((name) => [name, undefined])),
      }),
      ...runVariables(run),
    },
    ranks: followers.map((place) => ({ rank: place.rank, environment: rankVariables(place) })),
  };
  const output = {
    stdout: new LineMerger((bytes) => process.stdout.write(bytes)),
    stderr: new LineMerger((bytes) => process.stderr.write(bytes)),
  };
  const exits: RankExit[] = [];
  let fail!: (error: LaunchError) => void;
  const failed = new Promise<LaunchError>((resolve) => (fail = resolve));
  const agent = new AgentConnection({ name: host }, inheritedVariables());
  agent.start(job, {
    refused: ({ message }) => fail(new LaunchError(message, { host })),
    started: () => {},
    joining: () => agent.watchStopped(),
    output: (rank, stream, chunk) => output[stream].push(rank, chunk),
    stdinTaken: () => {},
    exited: (exit) => {
      exits.push(exit);
      const cause = findRootCause(exits);
      if (cause !== undefined) fail(new LaunchError(`The ${describeExit(cause)}.`, { rank: cause.rank, host }));
    },
    ended: (rank) => {
      output.stdout.end(rank);
      output.stderr.end(rank);
    },
  });
  void agent.gone.then(
    (failure) => failure !== undefined && fail(new LaunchError(`Rank 0 is alone: ${failure}`, { host })),
  );
  agent.keepAlive(false);
  return {
    settings: {
      identity: {
        rank: ROOT_RANK,
        worldSize,
        localRank: 0,
        localWorldSize: worldSize,
        host,
        engine: "shardrun",
        source: "tensorParallel",
        worldSizeSource: "tensorParallel",
      },
      coordinator: `${run.coordinator.host}:${run.coordinator.port}`,
      secret: Uint8Array.from(Buffer.from(run.secret, "hex")),
      runId: run.runId,
    },
    failed,
    close: async () => {
      agent.keepAlive(true);
      agent.terminate(CLOSE_GRACE_MS);
      await agent.gone;
    },
  };
}
