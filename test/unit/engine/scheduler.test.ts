import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { native } from "../../../src/collective/native.ts";
import { findRuntimeLibrary } from "../../../src/collective/runtime-library.ts";
import { resolveOptions, type GenerationOptions } from "../../../src/decode/options.ts";
import type { TokenEvent } from "../../../src/engine/messages.ts";
import { Scheduler } from "../../../src/engine/scheduler.ts";
import { Leader } from "../../../src/execute/leader.ts";
import { Rank } from "../../../src/execute/rank.ts";
import type { ModelSpecification, RowMove, Step } from "../../../src/execute/step.ts";

const VOCAB_SIZE = 576;
const NUM_ROWS = 3;
const prompts = [[1], [1, 403], [1, 403, 411, 415], [1, 50], [1, 60, 70], [2, 3], [1, 100]];

/** A leader of a real rank that also keeps what it was asked to do. */
class RecordingLeader extends Leader {
  readonly moves: RowMove[] = [];
  readonly steps: Step[] = [];

  override step(model: number, step: Step) {
    this.steps.push(step);
    return super.step(model, step);
  }

  override moveRow(model: number, move: RowMove) {
    this.moves.push(move);
    return super.moveRow(model, move);
  }
}

let leader: RecordingLeader;
const specification: ModelSpecification = {
  directory: join(import.meta.dirname, "../../../models/demo-stories"),
  maxContext: 200,
  numRows: NUM_ROWS,
  intraThreads: 1,
  verify: false,
  profile: false,
  cache: false,
  cacheLimitBytes: undefined,
};

beforeAll(async () => {
  native().openRuntime(findRuntimeLibrary(undefined));
  const peers = [{ rank: 0, host: "hosta", address: "" }];
  const group = { id: 0, epoch: 0, rank: 0, worldSize: 1, transport: "auto", timeoutMs: 10_000 } as const;
  const communicator = await native().connect(undefined, { ...group, peers });
  leader = new RecordingLeader(new Rank({ communicator, hosts: ["hosta"] }), () => {});
  await leader.load(0, specification);
});
afterAll(async () => {
  await leader.close();
});

function createScheduler(): Scheduler {
  leader.moves.length = 0;
  leader.steps.length = 0;
  return new Scheduler(leader, 0, specification, VOCAB_SIZE);
}

function requestOf(batch: readonly (readonly number[])[], options: GenerationOptions) {
  const vocabulary = { vocabSize: VOCAB_SIZE, endTokenIds: [], penalizePrompt: true, tokenToId: () => undefined };
  const all = { includePromptInResult: false, ...options };
  return { model: 0, prompts: batch, options: resolveOptions(all, vocabulary, 1), stream: false };
}

async function generate(
  scheduler: Scheduler,
  batch: readonly (readonly number[])[],
  options: GenerationOptions,
  { signal = new AbortController().signal, onToken = (_: TokenEvent): void => {} } = {},
): Promise<readonly (readonly number[])[]> {
  const { sequences } = await scheduler.generate(requestOf(batch, options), signal, onToken);
  return sequences.map(({ tokenIds }) => tokenIds);
}

/** Each prompt on its own, with its own length. */
async function generateAlone(lengths: readonly number[]): Promise<readonly (readonly number[])[]> {
  const answers: (readonly number[])[] = [];
  for (const [index, maxLength] of lengths.entries()) {
    const [answer] = await generate(createScheduler(), [prompts[index]!], { maxLength });
    answers.push(answer!);
  }
  return answers;
}

test.each([
  ["shortest first", [2, 4, 6, 8, 10, 12, 14]],
  ["longest first", [14, 12, 10, 8, 6, 4, 2]],
  ["mixed", [5, 1, 9, 3, 12, 2, 7]],
  ["all at once", [6, 6, 6, 6, 6, 6, 6]],
])("sequences that end %s take nothing from those that go on", async (_, lengths) => {
  const alone = await generateAlone(lengths);
  const scheduler = createScheduler();
  const together = await Promise.all(
    lengths.map(async (maxLength, index) => (await generate(scheduler, [prompts[index]!], { maxLength }))[0]),
  );
  expect(together).toEqual(alone);
  const widths = leader.steps.map(({ inputIds }) => inputIds.length);
  expect(Math.max(...widths)).toBe(NUM_ROWS);
});

test("the last row moves into a gap, and only what it holds", async () => {
  const scheduler = createScheduler();
  await Promise.all([3, 9, 9].map((maxLength, index) => generate(scheduler, [prompts[index]!], { maxLength })));
  // Row 0 ends after 3 tokens; row 2 by then holds its prompt of 4 tokens and the 2 that were fed back.
  expect(leader.moves).toEqual([{ from: 2, to: 0, numTokens: 6 }]);
});

test("a request that is cancelled gives its rows to the next, and the others go on", async () => {
  const [alone] = await generate(createScheduler(), [prompts[3]!], { maxLength: 20 });
  const scheduler = createScheduler();
  const controller = new AbortController();
  const cancelled = scheduler.generate(
    requestOf(prompts.slice(0, 3), { maxLength: 50 }),
    controller.signal,
    ({ step }) => step === 5 && controller.abort(),
  );
  const [other] = await generate(scheduler, [prompts[3]!], { maxLength: 20 });
  expect(other).toEqual(alone);
  const { sequences } = await cancelled;
  expect(sequences.map(({ finishReason }) => finishReason)).toEqual(["cancelled", "cancelled", "cancelled"]);
  for (const { generatedIds } of sequences) expect(generatedIds.length).toBeLessThan(50);
});

test("drain waits for everything, a forward pass included", async () => {
  const scheduler = createScheduler();
  const done: string[] = [];
  const calls = [
    generate(scheduler, prompts, { maxLength: 8 }).then(() => done.push("generate")),
    scheduler.forward({ model: 0, sequences: [[1, 2, 3]] }).then(() => done.push("forward")),
  ];
  await scheduler.drain();
  await Promise.all(calls);
  expect(done.toSorted()).toEqual(["forward", "generate"]);
  await scheduler.drain(); // nothing is left to wait for
});

test("a sequence longer than one chunk goes through in several", async () => {
  const sequence = Array.from({ length: 150 }, (_, index) => 1 + ((index * 37) % 500));
  const [logits] = await createScheduler().forward({ model: 0, sequences: [sequence] });
  expect(leader.steps.map(({ pastLengths, inputIds }) => [pastLengths[0], inputIds[0]!.length])).toEqual([
    [0, 64],
    [64, 64],
    [128, 22],
  ]);
  expect(logits).toHaveLength(150 * VOCAB_SIZE);
  // Other chunks, the same logits: the prefix ends inside the second chunk.
  const [prefix] = await createScheduler().forward({ model: 0, sequences: [sequence.slice(0, 100)] });
  prefix!.forEach((value, index) => expect(Math.abs(value - logits![index]!)).toBeLessThan(1e-3));
});

/** Tokens that were prefilled for each prompt, one request after the other. */
async function continueEach(scheduler: Scheduler, batch: readonly (readonly number[])[], maxLength: number) {
  const answers: { ids: readonly number[]; prefilled: number }[] = [];
  for (const prompt of batch) {
    const { sequences, statistics } = await scheduler.generate(
      requestOf([prompt], { maxLength, cachePrompt: true }),
      new AbortController().signal,
      () => {},
    );
    answers.push({ ids: sequences[0]!.generatedIds, prefilled: statistics.prefillTokens });
  }
  return answers;
}

test("a prompt that goes on where another ended is prefilled from there, in the same row", async () => {
  const [first] = await generate(createScheduler(), [[1, 403]], { maxLength: 5 });
  const longer = [1, 403, ...first!, 9, 8];
  const [whole] = await generate(createScheduler(), [longer], { maxLength: 6 });
  const answers = await continueEach(createScheduler(), [[1, 403], longer], 5);
  // The fifth token was chosen and never fed back.
  expect(answers).toEqual([
    { ids: first, prefilled: 2 },
    { ids: whole!.slice(0, 5), prefilled: 3 },
  ]);
  expect(leader.moves).toEqual([]);
});

test("conversations in turn keep a row each, as long as there are rows", async () => {
  const [a, b, c] = [3, 50, 100].map((id) => [1, id, id + 1, id + 2, id + 3, id + 4]) as [number[], number[], number[]];
  const more = (prompt: number[]) => [...prompt, 7];
  const prefilledOf = async (batch: readonly number[][]) =>
    (await continueEach(createScheduler(), batch, 1)).map(({ prefilled }) => prefilled);
  // All begin with the token 1.
  expect(await prefilledOf([a, b, more(a), more(b), a, b])).toEqual([6, 5, 1, 1, 1, 1]);
  // Of three rows one is where sequences run: a third conversation takes the place of the one that was left longest ago.
  expect(await prefilledOf([a, b, c, more(c), more(b), more(a)])).toEqual([6, 5, 5, 1, 1, 6]);
});

test("a beginning is taken from the row that was left longest ago before anything else goes there", async () => {
  const [a, b, c] = [3, 50, 100].map((id) => Array.from({ length: 8 }, (_, i) => id + i)) as [
    number[],
    number[],
    number[],
  ];
  const next = [...a.slice(0, 3), 415];
  const [whole] = await generate(createScheduler(), [next], { maxLength: 8 });
  const answers = await continueEach(createScheduler(), [a, b, c, next], 8);
  expect(answers[3]).toEqual({ ids: whole, prefilled: 1 });
});

test("a row that is left by one of several sequences is kept, whatever moves into it", async () => {
  const batch = prompts.slice(2, 5);
  const alone: (readonly (readonly number[])[])[] = [];
  for (const prompt of batch) alone.push(await generate(createScheduler(), [prompt], { maxLength: 12 }));
  const scheduler = createScheduler();
  const lengths = [3, 9];
  await Promise.all(lengths.map((maxLength, i) => generate(scheduler, [batch[i]!], { maxLength, cachePrompt: true })));
  for (const i of [0, 1]) {
    const prompt = [...batch[i]!, ...alone[i]![0]!.slice(0, lengths[i]! - 1)];
    const { sequences, statistics } = await scheduler.generate(
      requestOf([prompt], { maxLength: 13 - lengths[i]!, cachePrompt: true }),
      new AbortController().signal,
      () => {},
    );
    expect(sequences[0]!.generatedIds).toEqual(alone[i]![0]!.slice(lengths[i]! - 1));
    expect(statistics.prefillTokens).toBe(1);
  }
});

test("without the option nothing is used again, and what others keep is left to them", async () => {
  const scheduler = createScheduler();
  const [prompt] = [prompts[2]!];
  await continueEach(scheduler, [prompt], 1);
  const { statistics } = await scheduler.generate(
    requestOf([prompt], { maxLength: 1 }),
    new AbortController().signal,
    () => {},
  );
  expect(statistics.prefillTokens).toBe(prompt.length);
  await scheduler.forward({ model: 0, sequences: [[5, 6, 7]] });
  expect((await continueEach(scheduler, [prompt], 1))[0]!.prefilled).toBe(1);
});
