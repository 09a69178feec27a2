import { describe, expect, test } from "@jest/globals";
import { mkdtempSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { ggufTokenizer } from "../../../src/model/gguf/tokenizer.ts";
import { Settings } from "../../../src/model/settings.ts";
import { directoryTokenizer } from "../../../src/model/tokenizer-source.ts";
import { Tokenizer } from "../../../src/model/tokenizer.ts";
import { useTemporaryDirectory } from "../../support/temporary-directory.ts";
import { writeSentencepieceTokenizer } from "../../support/write-tokenizer.ts";

const root = useTemporaryDirectory();
const DEMO_STORIES = join(import.meta.dirname, "../../../models/demo-stories");
const NORMAL = 1;
const CONTROL = 3;
const USER_DEFINED = 4;

interface Definition {
  readonly model: { readonly vocab: Readonly<Record<string, number>>; readonly merges: (string | [string, string])[] };
  readonly added_tokens: readonly { readonly id: number }[];
}

const readDefinition = (directory: string): Definition =>
  JSON.parse(readFileSync(join(directory, "tokenizer.json"), "utf8")) as Definition;

function tokensOf({ model }: Definition): string[] {
  return Object.entries(model.vocab)
    .sort(([, a], [, b]) => a - b)
    .map(([token]) => token);
}

function typesOf(definition: Definition, numTokens: number): number[] {
  const special = new Set(definition.added_tokens.map(({ id }) => id));
  return Array.from({ length: numTokens }, (_, id) => (special.has(id) ? CONTROL : NORMAL));
}

const make = (metadata: Record<string, unknown>): Tokenizer =>
  new Tokenizer(
    ggufTokenizer(
      new Settings(
        "model.gguf",
        Object.fromEntries(Object.entries(metadata).map(([key, value]) => [`tokenizer.ggml.${key}`, value])),
      ),
    ),
  );

describe("byte-level", () => {
  const definition = readDefinition(DEMO_STORIES);
  const tokens = tokensOf(definition);
  const metadata = {
    model: "gpt2",
    pre: "gpt-2",
    tokens,
    token_type: typesOf(definition, tokens.length),
    merges: definition.model.merges,
    bos_token_id: 1,
    eos_token_id: 2,
  };
  const texts = ["Once upon a time", " He said: don't!  99 ways\n\n\tto é 😀", "", "</s>a<s>"];

  test("cuts and joins as tokenizer.json does", () => {
    const [expected, tokenizer] = [
      new Tokenizer(directoryTokenizer(DEMO_STORIES)),
      make({ ...metadata, add_bos_token: true }),
    ];
    for (const text of texts) {
      const ids = expected.encode(text);
      expect(tokenizer.encode(text)).toEqual(ids);
      expect(tokenizer.decode(ids)).toBe(expected.decode(ids));
      expect(tokenizer.decode(ids, { skipSpecialTokens: false })).toBe(
        expected.decode(ids, { skipSpecialTokens: false }),
      );
    }
  });

  test("begins and ends texts where the file says so", () => {
    const ids = make(metadata).encode("Once");
    expect(ids[0]).not.toBe(1);
    expect(make({ ...metadata, add_bos_token: true }).encode("Once")).toEqual([1, ...ids]);
    expect(make({ ...metadata, add_eos_token: true }).encode("Once")).toEqual([...ids, 2]);
    // Llama 3's files may not say it.
    expect(make({ ...metadata, pre: "llama-bpe" }).encode("Once")[0]).toBe(1);
  });

  test("digits one by one, three by three, or all together", () => {
    const digits = [..."0123456789"].map((digit) => `${digit}${digit}`);
    const merges = digits.map((pair) => `${pair[0]} ${pair[1]}`);
    const vocabulary = { ...metadata, tokens: [...tokens, ...digits], merges: [...definition.model.merges, ...merges] };
    const pieces = (pre: string): string[] => {
      const tokenizer = make({ ...vocabulary, pre, add_bos_token: false });
      return tokenizer.encode("a1111").map((id) => tokenizer.idToToken(id)!);
    };
    expect(pieces("smollm")).toEqual(["a", "1", "1", "1", "1"]);
    expect(pieces("qwen2")).toEqual(["a", "1", "1", "1", "1"]);
    expect(pieces("llama-bpe")).toEqual(["a", "11", "1", "1"]);
    expect(pieces("gpt-2")).toEqual(["a", "11", "11"]);
  });

  test("tokens that a text is searched for, shown or not", () => {
    const types = [...typesOf(definition, tokens.length), CONTROL, USER_DEFINED];
    const tokenizer = make({ ...metadata, tokens: [...tokens, "<|im_end|>", "<think>"], token_type: types });
    const ids = tokenizer.encode("Once<think>upon<|im_end|>");
    expect(ids).toContain(tokens.length);
    expect(ids).toContain(tokens.length + 1);
    expect(tokenizer.decode(ids)).toBe("Once<think>upon");
  });
});

describe("sentencepiece", () => {
  const directory = writeSentencepieceTokenizer(mkdtempSync(join(root, "tokenizer-")));
  const definition = readDefinition(directory);
  const tokens = tokensOf(definition);
  // The earlier a merge, the higher the score of what it makes.
  const ranks = new Map(definition.model.merges.map((pair, rank) => [(pair as [string, string]).join(""), rank]));
  const metadata = {
    model: "llama",
    tokens,
    token_type: tokens.map((token, id) => (id === 0 ? 2 : id < 3 ? CONTROL : token.startsWith("<0x") ? 6 : NORMAL)),
    scores: tokens.map((token) => -(ranks.get(token) ?? 1000)),
    bos_token_id: 1,
    eos_token_id: 2,
    unknown_token_id: 0,
  };

  test("cuts and joins as tokenizer.json does", () => {
    const [expected, tokenizer] = [new Tokenizer(directoryTokenizer(directory)), make(metadata)];
    for (const text of ["hello world", "hello  hold é", "low", "</s>hello"]) {
      const ids = expected.encode(text);
      expect(tokenizer.encode(text)).toEqual(ids);
      expect(tokenizer.decode(ids)).toBe(expected.decode(ids));
    }
    expect(tokenizer.unknownTokenId).toBe(0);
  });

  test("puts no space before a text where the file says so", () => {
    const tokenizer = make({ ...metadata, add_space_prefix: false, add_bos_token: false });
    const ids = tokenizer.encode("hello world");
    expect(ids.map((id) => tokenizer.idToToken(id))).toEqual(["h", "e", "l", "l", "o", "▁world"]);
    expect(tokenizer.decode(ids)).toBe("hello world");
    expect(tokenizer.decode(ids.slice(-1))).toBe(" world");
  });
});

describe("what is refused", () => {
  test("another kind", () => {
    const tokenizer = make({ model: "bert" });
    expect(tokenizer.isAvailable).toBe(true);
    expect(() => tokenizer.encode("a")).toThrow(
      '"tokenizer.ggml.model" in "model.gguf": expected one of "gpt2", "llama", received "bert".',
    );
  });

  test("another way to cut words", () => {
    expect(() => make({ model: "gpt2", pre: "unheard-of", tokens: [] }).encode("a")).toThrow(
      '"tokenizer.ggml.pre" in "model.gguf": expected one of "gpt-2", "phi-2", "smollm", "starcoder", "refact", "codeshell", ' +
        '"command-r", "dbrx", "llama-bpe", "llama3", "llama-v3", "smaug-bpe", "qwen2", "deepseek-r1-qwen", received "unheard-of".',
    );
  });

  test("tokens that are no texts", () => {
    expect(() => make({ model: "llama", tokens: [1, 2] }).encode("a")).toThrow(
      '"tokenizer.ggml.tokens" in "model.gguf": expected a list of strings, received [1,2].',
    );
  });
});
