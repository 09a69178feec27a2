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
  { kind: "report" },
];

test.each(commands)("a $kind command arrives as it was sent", (command) => {
  expect(decodeCommand(encodeCommand(command))).toEqual(command);
});
