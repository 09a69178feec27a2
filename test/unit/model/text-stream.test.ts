import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { fileURLToPath } from "node:url";
import { TextStream } from "../../../src/model/text-stream.ts";
import { Tokenizer } from "../../../src/model/tokenizer.ts";
import { directoryTokenizer } from "../../../src/model/tokenizer-source.ts";
import { useTemporaryDirectory } from "../../support/temporary-directory.ts";
import { writeSentencepieceTokenizer } from "../../support/write-tokenizer.ts";

const byteLevel = new Tokenizer(
  directoryTokenizer(fileURLToPath(new URL("../../../models/demo-stories", import.meta.url))),
);
const sentencepiece = new Tokenizer(directoryTokenizer(writeSentencepieceTokenizer(useTemporaryDirectory())));

/** What each token gives, and what the end gives. */
function streamPieces(tokenizer: Tokenizer, ids: readonly number[], context?: readonly number[]): string[] {
  const stream = new TextStream(tokenizer, context);
  return [...ids.map((id) => stream.push(id)), stream.flush()];
}

const idsOf = (tokenizer: Tokenizer, text: string): number[] => tokenizer.encode(text, { addSpecialTokens: false });

describe("text that is certain", () => {
  test("comes token by token, spaces included", () => {
    const ids = idsOf(byteLevel, "Once upon a time");
    expect(streamPieces(byteLevel, ids)).toEqual(["Once", " upon", " a", " time", ""]);
  });

  test("sentencepiece: the space before the first word is dropped, those between words stay", () => {
    const ids = idsOf(sentencepiece, "hello world hello");
    expect(streamPieces(sentencepiece, ids)).toEqual(["hello", " world", " hello", ""]);
  });

  test("after a prompt the first word keeps its space", () => {
    const [context, ids] = [sentencepiece.encode("hello"), idsOf(sentencepiece, "world")];
    expect(streamPieces(sentencepiece, ids, context)).toEqual([" world", ""]);
  });

  test("after a beginning token alone the text begins", () => {
    expect(streamPieces(sentencepiece, idsOf(sentencepiece, "world"), [1])).toEqual(["world", ""]);
  });

  test("special tokens have no text", () => {
    const [hello, world] = idsOf(sentencepiece, "hello world") as [number, number];
    expect(streamPieces(sentencepiece, [1, hello, 2, world, 2])).toEqual(["", "hello", "", " world", "", ""]);
  });
});

describe("characters spread over tokens", () => {
  test.each([
    ["byte-level", byteLevel],
    ["sentencepiece", sentencepiece],
  ])("%s: come with their last byte", (_, tokenizer) => {
    const ids = idsOf(tokenizer, "é😀");
    const bytes = ids.slice(-6);
    expect(streamPieces(tokenizer, bytes)).toEqual(["", "é", "", "", "", "😀", ""]);
  });

  test("a character that is never finished comes at the end", () => {
    const ids = idsOf(byteLevel, "é😀").slice(-6);
    expect(streamPieces(byteLevel, ids.slice(0, 4))).toEqual(["", "é", "", "", "\uFFFD"]);
  });

  test("one that another token cuts short comes with that token", () => {
    const [first] = idsOf(byteLevel, "é").slice(-2);
    expect(streamPieces(byteLevel, [first!, ...idsOf(byteLevel, "Once")])).toEqual(["", "\uFFFDOnce", ""]);
  });

  test("one that the prompt began is finished", () => {
    const ids = idsOf(byteLevel, "😀").slice(-4);
    expect(streamPieces(byteLevel, ids.slice(2), ids.slice(0, 2))).toEqual(["", "😀", ""]);
  });
});

test.each([
  ["byte-level", byteLevel],
  ["sentencepiece", sentencepiece],
])("%s: pieces joined are the whole text", (_, tokenizer) => {
  const text = fc.string({ unit: fc.constantFrom("hello", " ", " world", "é", "😀", "\n", "a", ".", "日本") });
  fc.assert(
    fc.property(text, text, (prompt, continuation) => {
      const context = tokenizer.encode(prompt);
      const ids = idsOf(tokenizer, continuation);
      expect(streamPieces(tokenizer, ids).join("")).toBe(tokenizer.decode(ids));
      const whole = tokenizer.decode([...context, ...ids]);
      expect(tokenizer.decode(context) + streamPieces(tokenizer, ids, context).join("")).toBe(whole);
    }),
  );
});
