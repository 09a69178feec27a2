/** What the API promises, tried in real processes: on one rank, and on two. test/world/scripts/api.mjs makes the calls. */
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "@jest/globals";
import { TWO_RANKS } from "../support/launcher.ts";
import { runNode, runShardrun } from "../support/run-shardrun.ts";

const ROOT = join(import.meta.dirname, "../..");
const SCRIPT = join(import.meta.dirname, "scripts/api.mjs");

type Ids = readonly number[];
interface SeenError {
  readonly name: string;
  readonly code?: string | number;
  readonly message: string;
}
interface Sampled {
  readonly sequencesIds: readonly Ids[];
  readonly scores: readonly number[];
  readonly finishReasons: readonly string[];
}
/** The script's JSON line. */
interface Seen {
  readonly concurrentCalls: Readonly<Record<"serial" | "concurrent" | "batch", readonly Ids[]>>;
  readonly moreSequencesThanRows: { readonly numPrompts: number; readonly ids: readonly Ids[] };
  readonly tokens: Readonly<Record<"batch" | "all" | "steps" | "stopped", Ids>> & {
    readonly isLast: readonly boolean[];
    readonly sumOfLogProbs: number;
    readonly score: number;
  };
  readonly severalStreams: readonly Ids[];
  readonly abortedBefore: SeenError;
  readonly abortedDuring: { readonly batch: SeenError; readonly stream: SeenError; readonly tookMs: number };
  readonly abortedAfter: { readonly ids: Ids; readonly again: Ids };
  readonly sampling: Readonly<Record<"first" | "second" | "other", Sampled>>;
  readonly scores: {
    readonly logProbs: Ids;
    readonly fromForward: Ids;
    readonly shape: Ids;
    readonly sum: number;
    readonly restOfShorterInput: boolean;
  };
  readonly verified: Ids;
  readonly unloaded: { readonly underWay: Ids; readonly later: SeenError; readonly text: string };
  readonly wrongCalls: Readonly<Record<"emptyPrompt" | "unknownOption" | "unknownId", SeenError>> & {
    readonly emptyBatch: readonly unknown[];
  };
  readonly timer: { readonly numTicks: number; readonly medianMs: number };
  readonly statistics: {
    readonly prefillTokens: number;
    readonly decodeTokens: number;
    readonly decodeNanoseconds: number;
    readonly ranks: readonly { readonly rank: number; readonly pid: number; readonly weights: number }[];
  };
}

/** Runs the script to its own end: nothing of shardrun keeps its event loop alive after the last call. */
async function runApi(numRanks: number): Promise<Seen> {
  const { exitCode, stdout, stderr } =
    numRanks === 1 ? await runNode([SCRIPT]) : await runShardrun([...TWO_RANKS, process.execPath, SCRIPT]);
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
  return JSON.parse(stdout) as Seen;
}

describe.each([1, 2])("on %i ranks", (numRanks) => {
  let seen: Seen;
  beforeAll(async () => {
    seen = await runApi(numRanks);
  });

  test("20 calls at once, shuffled, and one call of 20 prompts give the answers of 20 calls one by one", () => {
    const { serial, concurrent, batch } = seen.concurrentCalls;
    expect(serial).toHaveLength(20);
    expect(new Set(serial.map(String)).size).toBeGreaterThan(10);
    expect(concurrent).toEqual(serial);
    expect(batch).toEqual(serial);
  });

  test("more sequences than cache rows wait for their turn", () => {
    const { serial } = seen.concurrentCalls;
    expect(seen.moreSequencesThanRows).toEqual({ numPrompts: 60, ids: [...serial, ...serial, ...serial] });
  });

  test("tokens come one by one, and the loop may be left", () => {
    const { batch, all, steps, isLast, stopped, sumOfLogProbs, score } = seen.tokens;
    expect(all).toEqual(batch);
    expect(steps).toEqual(all.map((_, index) => index));
    expect(isLast).toEqual(all.map((_, index) => index === all.length - 1));
    expect(stopped).toEqual(batch.slice(0, 3));
    expect(sumOfLogProbs).toBeCloseTo(score, 4);
  });

  test("tokens of several prompts name their prompt", () => {
    expect(seen.severalStreams).toEqual(seen.concurrentCalls.serial.slice(0, 3));
  });

  test("an AbortSignal stops a call before and during, not after", () => {
    expect(seen.abortedBefore).toEqual({ name: "RangeError", message: "no longer wanted" });
    const aborted = { name: "AbortError", code: 20, message: "This operation was aborted" };
    expect(seen.abortedDuring).toMatchObject({ batch: aborted, stream: aborted });
    const [ids] = seen.concurrentCalls.serial;
    expect(seen.abortedAfter).toEqual({ ids, again: ids });
  });

  test("sampled hypotheses differ, come best first, and repeat with their seed", () => {
    const { first, second, other } = seen.sampling;
    expect(new Set(first.sequencesIds.map(String)).size).toBe(3);
    expect(first.scores).toEqual(first.scores.toSorted((a, b) => b - a));
    expect(first.finishReasons).toEqual(["length", "length", "length"]);
    expect(second).toEqual(first);
    expect(other.sequencesIds).not.toEqual(first.sequencesIds);
  });

  test("scores are the log probabilities of forwardBatch", () => {
    const { logProbs, fromForward, shape, sum, restOfShorterInput } = seen.scores;
    expect(logProbs).toHaveLength(3);
    logProbs.forEach((logProb, index) => expect(logProb).toBeCloseTo(fromForward[index]!, 4));
    expect(shape).toEqual([2, 4, 576]);
    expect(sum).toBeCloseTo(1, 4);
    expect(restOfShorterInput).toBe(true);
  });

  test("verify: true changes nothing but the care taken", () => {
    expect(seen.verified).toEqual(seen.concurrentCalls.serial[0]);
  });

  test("unloadModel waits for the calls under way and refuses later ones; calling it again is fine", () => {
    const { underWay, later, text } = seen.unloaded;
    expect(underWay).toEqual(seen.concurrentCalls.serial[0]);
    expect(later).toEqual({
      name: "UsageError",
      code: "ERR_SHARDRUN_USAGE",
      message: `The model of ${join(ROOT, "models/demo-stories")} has been unloaded: load it again with Generator.load.`,
    });
    expect(text).toBe("Once");
  });

  test("wrong calls are refused by name, and an empty batch is none", () => {
    const { emptyPrompt, unknownOption, unknownId, emptyBatch } = seen.wrongCalls;
    expect(emptyPrompt.message).toBe(
      "Prompt 0 has no tokens: give at least one, for example the model's beginning token.",
    );
    expect(unknownOption.message).toMatch(/^There is no generation option "maxLenght": the options are beamSize, /);
    expect(unknownId.message).toBe("Prompt 0 holds the token id 100000, but the model's token ids go from 0 to 575.");
    expect(emptyBatch).toEqual([]);
  });

  test("the script's event loop goes on while a batch runs", () => {
    const { numTicks, medianMs } = seen.timer;
    expect(numTicks).toBeGreaterThan(3);
    expect(medianMs).toBeLessThan(20);
  });

  test("statistics count tokens and name every rank", () => {
    const { prefillTokens, decodeTokens, decodeNanoseconds, ranks } = seen.statistics;
    expect(prefillTokens).toBeGreaterThan(400);
    expect(decodeTokens).toBeGreaterThan(4000);
    expect(decodeNanoseconds).toBeGreaterThan(0);
    expect(ranks.map(({ rank }) => rank)).toEqual(Array.from({ length: numRanks }, (_, rank) => rank));
    expect(new Set(ranks.map(({ pid }) => pid)).size).toBe(numRanks);
    for (const { weights } of ranks) expect(weights).toBeGreaterThan(0);
  });
});
