import { expect, test } from "@jest/globals";
import { decodeCommand, encodeCommand, type Command } from "../../../src/execute/step.ts";

const commands: readonly Command[] = [
  {
    kind: "load",
    model: 3,
    specification: {
      directory: 'a "quoted" ünïcode/path',
      maxContext: 512,
      numRows: 32,
      intraThreads: 1,
      verify: true,
      profile: false,
      cache: false,
      cacheLimitBytes: undefined,
    },
  },
  {
    kind: "step",
    model: 0,
    step: { firstRow: 1, inputIds: [[5], [6]], pastLengths: [7, 0], positions: [0], want: "argmax" },
  },
  { kind: "moveRow", model: 1, move: { from: 4, to: 2, numTokens: 9 } },
  { kind: "unload", model: 1 },
  { kind: "measure", calls: { numBytes: 4, numCalls: 100, nanoseconds: 0, numRanks: 0 } },
  { kind: "profile", model: 1 },
  { kind: "report" },
];

test.each(commands)("a $kind command arrives as it was sent", (command) => {
  expect(decodeCommand(encodeCommand(command))).toEqual(command);
});

const STEP = { firstRow: 1, inputIds: [[5, 6]], pastLengths: [7], positions: [0, 1], want: "argmax" };
const LOAD = commands[0] as Command & { kind: "load" };

test.each<[string, unknown]>([
  ["another kind", { kind: "sing" }],
  ["a list", []],
  ["no model", { kind: "unload" }],
  ["a negative model", { kind: "profile", model: -1 }],
  ["a step without rows", { kind: "step", model: 0, step: { ...STEP, inputIds: [], pastLengths: [] } }],
  ["a step without tokens", { kind: "step", model: 0, step: { ...STEP, inputIds: [[]], positions: [] } }],
  ["a token that is text", { kind: "step", model: 0, step: { ...STEP, inputIds: [[5, "6"]] } }],
  [
    "a row of another length",
    { kind: "step", model: 0, step: { ...STEP, inputIds: [[5, 6], [7]], pastLengths: [7, 0] } },
  ],
  ["more rows than past lengths", { kind: "step", model: 0, step: { ...STEP, inputIds: [[5], [6]], positions: [0] } }],
  ["a position that is no token's", { kind: "step", model: 0, step: { ...STEP, positions: [2] } }],
  ["a wish for something else", { kind: "step", model: 0, step: { ...STEP, want: "everything" } }],
  ["a move from nowhere", { kind: "moveRow", model: 0, move: { to: 1, numTokens: 1 } }],
  ["a load of a number", { ...LOAD, specification: { ...LOAD.specification, directory: 7 } }],
  ["a load in half rows", { ...LOAD, specification: { ...LOAD.specification, numRows: 0.5 } }],
  ["a load in another format", { ...LOAD, specification: { ...LOAD.specification, computeType: "int2" } }],
  ["a load for ranks that weigh nothing", { ...LOAD, specification: { ...LOAD.specification, rankWeights: [1, 0] } }],
])("%s is refused", (_, command) => {
  const text = JSON.stringify(command);
  expect(() => decodeCommand(new TextEncoder().encode(text))).toThrow(
    expect.objectContaining({
      name: "InternalError",
      message:
        `The leader's command is not understood: ${text.slice(0, 80)}${text.length > 80 ? "..." : ""}. ` +
        "Do all ranks run the same build of shardrun?",
    }),
  );
});

test("what is no JSON is refused", () => {
  expect(() => decodeCommand(Uint8Array.of(255, 0, 1))).toThrow("The leader's command is not understood: ");
});
