import { describe, expect, test } from "@jest/globals";
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ModelError } from "../../../src/errors.ts";
import { Tokenizer } from "../../../src/model/tokenizer.ts";
import { directoryTokenizer } from "../../../src/model/tokenizer-source.ts";
import { useTemporaryDirectory } from "../../support/temporary-directory.ts";
import { writeSentencepieceTokenizer } from "../../support/write-tokenizer.ts";

const root = useTemporaryDirectory();
const demo = fileURLToPath(new URL("../../../models/demo-stories", import.meta.url));
const families = fileURLToPath(new URL("../../../../shared/models/families", import.meta.url));

describe("byte-level (demo-stories)", () => {
  const tokenizer = new Tokenizer(directoryTokenizer(demo));
  interface Expected {
    readonly prompts: readonly { text: string; ids: number[]; new_ids: number[]; new_text: string }[];
  }
  const { prompts } = JSON.parse(readFileSync(join(demo, "expected.json"), "utf8")) as Expected;

  test.each(prompts)("prompt %#", ({ text, ids, new_ids, new_text }) => {
    expect(tokenizer.encode(text)).toEqual(ids);
    expect(tokenizer.encode(text, { addSpecialTokens: false })).toEqual(ids.slice(1));
    expect(tokenizer.decode(ids)).toBe(text);
    expect(tokenizer.decode(ids, { skipSpecialTokens: false })).toBe(`<s>${text}`);
    expect(tokenizer.decode(new_ids)).toBe(new_text);
  });

  test("tokens and ids", () => {
    expect(tokenizer.isAvailable).toBe(true);
    expect(tokenizer.vocabSize).toBe(576);
    expect(tokenizer.tokenToId("</s>")).toBe(2);
    expect(tokenizer.idToToken(2)).toBe("</s>");
    expect(tokenizer.tokenToId("no such token")).toBeUndefined();
    expect(tokenizer.idToToken(576)).toBeUndefined();
    expect(tokenizer.unknownTokenId).toBeUndefined();
  });

  test("text of nothing, and of ids that stand for no token", () => {
    expect(tokenizer.decode([])).toBe("");
    expect(tokenizer.decode([600, 411, 999])).toBe(tokenizer.decode([411]));
    expect(tokenizer.encode("", { addSpecialTokens: false })).toEqual([]);
  });

  test("spaces before punctuation stay", () => {
    expect(tokenizer.decode(tokenizer.encode("Do n't stop ."))).toBe("Do n't stop .");
  });
});

describe("sentencepiece with byte fallback", () => {
  const tokenizer = new Tokenizer(
    directoryTokenizer(writeSentencepieceTokenizer(mkdtempSync(join(root, "tokenizer-")))),
  );

  test("a space before the first word comes and goes by itself", () => {
    const ids = tokenizer.encode("hello world");
    expect(ids.map((id) => tokenizer.idToToken(id))).toEqual(["<s>", "▁hello", "▁world"]);
    expect(tokenizer.decode(ids)).toBe("hello world");
  });

  test("characters outside the vocabulary become bytes", () => {
    const ids = tokenizer.encode("é", { addSpecialTokens: false });
    expect(ids.map((id) => tokenizer.idToToken(id))).toEqual(["▁", "<0xC3>", "<0xA9>"]);
    expect(tokenizer.decode(ids)).toBe("é");
  });

  test("the unknown token", () => {
    expect(tokenizer.unknownTokenId).toBe(0);
    expect(tokenizer.idToToken(0)).toBe("<unk>");
  });
});

test("without an unknown token, characters outside the vocabulary are dropped", () => {
  const directory = mkdtempSync(join(root, "tokenizer-"));
  writeSentencepieceTokenizer(directory, { bytes: false, unknown: false });
  const tokenizer = new Tokenizer(directoryTokenizer(directory));
  expect(tokenizer.decode(tokenizer.encode("hello é world"))).toBe("hello  world");
});

test.each(["<unk>", { content: "<unk>", special: true }])(
  "the unknown token that only tokenizer_config.json names: %j",
  (token) => {
    const directory = mkdtempSync(join(root, "tokenizer-"));
    writeSentencepieceTokenizer(directory, { unknown: false });
    expect(new Tokenizer(directoryTokenizer(directory)).unknownTokenId).toBeUndefined();
    writeFileSync(join(directory, "tokenizer_config.json"), JSON.stringify({ unk_token: token }));
    expect(new Tokenizer(directoryTokenizer(directory)).unknownTokenId).toBe(0);
  },
);

describe("a tokenizer that cannot be used", () => {
  test("none", () => {
    const tokenizer = new Tokenizer(directoryTokenizer(root));
    expect(tokenizer.isAvailable).toBe(false);
    const none = new ModelError(
      `Model "${root}" has no tokenizer.json, so it has no text: pass and read token ids, or add tokenizer.json to the directory.`,
    );
    expect(() => tokenizer.encode("text")).toThrow(none);
    expect(() => tokenizer.decode([1])).toThrow(none);
    expect(() => tokenizer.tokenToId("a")).toThrow(none);
  });

  test("one that the library does not know", () => {
    const directory = mkdtempSync(join(root, "tokenizer-"));
    const file = join(directory, "tokenizer.json");
    writeFileSync(
      file,
      JSON.stringify({
        model: {},
        decoder: null,
        post_processor: null,
        pre_tokenizer: null,
        normalizer: { type: "Newest" },
      }),
    );
    expect(() => new Tokenizer(directoryTokenizer(directory)).encode("text")).toThrow(
      expect.objectContaining({
        code: "ERR_SHARDRUN_MODEL",
        message: `Reading "${file}" failed: Unknown Normalizer type: Newest. Export the tokenizer again.`,
      }),
    );
  });
});

(existsSync(families) ? describe : describe.skip)("Hugging Face's own ids (needs ../shared)", () => {
  test.each(["bart", "bert", "distilbert", "roberta"])("%s", (family) => {
    const directory = join(families, family);
    const tokenizer = new Tokenizer(directoryTokenizer(directory));
    const { inputs } = JSON.parse(readFileSync(join(directory, "expected.json"), "utf8")) as {
      inputs: { text: string; input_ids: number[] }[];
    };
    expect(inputs.length).toBeGreaterThan(0);
    for (const { text, input_ids } of inputs) expect(tokenizer.encode(text)).toEqual(input_ids);
  });
});
