/** Writes a small sentencepiece-like tokenizer.json: "▁" for spaces, one put before the text, bytes for unknown characters. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";

const WORDS = ["▁hello", "▁world", "▁", "h", "e", "l", "o", "w", "r", "d"];

/** Merges that make the words from letters. */
const MERGES = [
  ["▁", "h"],
  ["▁h", "e"],
  ["▁he", "l"],
  ["▁hel", "l"],
  ["▁hell", "o"],
  ["▁", "w"],
  ["▁w", "o"],
  ["▁wo", "r"],
  ["▁wor", "l"],
  ["▁worl", "d"],
];

/** Writes it into a directory, which it returns. Ids: <unk> 0, <s> 1, </s> 2, then bytes, then pieces. */
export function writeSentencepieceTokenizer(directory: string, { bytes = true, unknown = true } = {}): string {
  const byteTokens = Array.from(
    { length: 256 },
    (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`,
  );
  const pieces = [...new Set([...WORDS, ...MERGES.map((pair) => pair.join(""))])];
  const tokens = ["<unk>", "<s>", "</s>", ...(bytes ? byteTokens : []), ...pieces];
  const special = tokens.slice(0, 3).map((content, id) => ({ id, content, special: true, normalized: false }));
  const definition = {
    added_tokens: special,
    normalizer: {
      type: "Sequence",
      normalizers: [
        { type: "Prepend", prepend: "▁" },
        { type: "Replace", pattern: { String: " " }, content: "▁" },
      ],
    },
    pre_tokenizer: null,
    post_processor: {
      type: "TemplateProcessing",
      single: [{ SpecialToken: { id: "<s>", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
      pair: [],
      special_tokens: { "<s>": { id: "<s>", ids: [1], tokens: ["<s>"] } },
    },
    decoder: {
      type: "Sequence",
      decoders: [
        { type: "Replace", pattern: { String: "▁" }, content: " " },
        { type: "ByteFallback" },
        { type: "Fuse" },
        { type: "Strip", content: " ", start: 1, stop: 0 },
      ],
    },
    model: {
      type: "BPE",
      unk_token: unknown ? "<unk>" : null,
      byte_fallback: bytes,
      fuse_unk: true,
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges: MERGES,
    },
  };
  writeFileSync(join(directory, "tokenizer.json"), JSON.stringify(definition));
  return directory;
}
