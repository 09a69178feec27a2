/** Several ranks in this process that load a model as ranks of several hosts do: each looks for it in a directory of its own. */
import type { Communicator } from "../../src/collective/native.ts";
import type { HostTransfer } from "../../src/execute/provide-model.ts";
import { Rank } from "../../src/execute/rank.ts";
import { connectWorld, openRuntime } from "./tiny-graph.ts";

export interface LoadedWorld {
  /** Why loading failed, per rank. */
  readonly failures: readonly (Error | undefined)[];
  /** What rank 0 sent to hosts that have no copy. */
  readonly transfers: readonly HostTransfer[];
  /** The likeliest token after this prompt; the same on every rank. */
  readonly nextToken: number | undefined;
}

/** One rank. */
export interface Place {
  readonly host: string;
  /** Where it looks for the model. */
  readonly directory: string;
}

const PROMPT = [1, 5, 9, 3, 7];

/** @param onReport called as rank 0 sends, after each turn of all hosts */
export async function loadWorld(places: readonly Place[], onReport: () => void = () => {}): Promise<LoadedWorld> {
  openRuntime();
  const communicators = await connectWorld(places.length);
  const hosts = places.map(({ host }) => host);
  const ranks = communicators.map(
    (communicator) => new Rank({ communicator, hosts }, { update: onReport, end: () => {} }),
  );
  try {
    const outcomes = await Promise.all(
      ranks.map((rank, i) =>
        rank.load(0, {
          directory: places[i]!.directory,
          maxContext: 16,
          numRows: 1,
          intraThreads: 1,
          verify: false,
          profile: false,
          cache: false,
          cacheLimitBytes: undefined,
        }),
      ),
    );
    const failures = outcomes.map(({ failure }) => failure);
    const [root] = outcomes;
    if (root?.failure !== undefined) return { failures, transfers: [], nextToken: undefined };
    return { failures, transfers: root!.transfers, nextToken: await chooseToken(ranks) };
  } finally {
    for (const rank of ranks) await rank.close();
    await closeAll(communicators);
  }
}

async function chooseToken(ranks: readonly Rank[]): Promise<number> {
  const results = await Promise.all(
    ranks.map((rank) =>
      rank.step(0, {
        firstRow: 0,
        inputIds: [PROMPT],
        pastLengths: [0],
        positions: [PROMPT.length - 1],
        want: "argmax",
      }),
    ),
  );
  return results[0]!.tokenIds![0]!;
}

async function closeAll(communicators: readonly Communicator[]): Promise<void> {
  for (const communicator of communicators) await communicator.close();
}
