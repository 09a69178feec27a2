/**
 * The tokenizer of a GGUF file: its metadata (tokenizer.ggml.*) goes in, what tokenizer.json and tokenizer_config.json would say
 * comes out, so that Hugging Face's library does the work here too. Two kinds: byte-level BPE ("gpt2") and sentencepiece ("llama").
 */
import { ModelError } from "../../errors.ts";
import { readSpecialTokens } from "../chat-template.ts";
import type { Settings } from "../settings.ts";
import type { TokenizerDefinition, TokenizerSource } from "../tokenizer-source.ts";
import { BYTE_LEVEL_STYLES } from "./pre-tokenizers.ts";

const KINDS = ["gpt2", "llama"] as const;

/** Token types by their numbers (tokenizer.ggml.token_type). */
const UNKNOWN = 2;
const CONTROL = 3;
const USER_DEFINED = 4;

/** The tokenizer that the metadata describes; nothing is built before it is read. */
export function ggufTokenizer(metadata: Settings): TokenizerSource {
  return {
    file: metadata.file,
    isAvailable: metadata.has("tokenizer.ggml.model"),
    read: () => readDefinition(metadata),
    readChatTemplate: () => {
      const text = metadata.text("tokenizer.chat_template");
      if (text === undefined) return undefined;
      return { text, file: metadata.file, specialTokens: readSpecialTokens(readDefinition(metadata).config) };
    },
  };
}

/** Whether texts begin with the begin token. */
function addsBos(metadata: Settings, standard: boolean): boolean {
  return metadata.boolean("tokenizer.ggml.add_bos_token", standard);
}

function readDefinition(metadata: Settings): TokenizerDefinition {
  if (!metadata.has("tokenizer.ggml.model")) {
    throw new ModelError(
      `"${metadata.file}" has no tokenizer in its metadata, so the model has no text: pass and read token ids, or convert it again.`,
    );
  }
  const kind = metadata.choice("tokenizer.ggml.model", KINDS);
  const tokens = metadata.strings("tokenizer.ggml.tokens");
  const types = metadata.numbers("tokenizer.ggml.token_type");
  const tokenOf = (key: string): string | undefined =>
    tokens[metadata.tokenIds(`tokenizer.ggml.${key}_token_id`)[0] ?? -1];
  const special = {
    bos_token: tokenOf("bos"),
    eos_token: tokenOf("eos"),
    unk_token: unknownToken(tokens, types) ?? tokenOf("unknown"),
  };
  const parts = kind === "gpt2" ? byteLevelParts(metadata) : sentencepieceParts(metadata, tokens, special.unk_token);
  const bos = parts.addsBos ? special.bos_token : undefined;
  const eos = metadata.boolean("tokenizer.ggml.add_eos_token", false) ? special.eos_token : undefined;
  return {
    definition: {
      added_tokens: addedTokens(tokens, types),
      normalizer: parts.normalizer,
      pre_tokenizer: parts.preTokenizer,
      post_processor: surround(tokens, bos, eos),
      decoder: parts.decoder,
      model: { type: "BPE", vocab: vocabularyOf(tokens), ...parts.model },
    },
    config: special,
  };
}

/** What differs between the two kinds. */
interface Parts {
  readonly normalizer: object | null;
  readonly preTokenizer: object | null;
  readonly decoder: object;
  readonly model: object;
  readonly addsBos: boolean;
}

function byteLevelParts(metadata: Settings): Parts {
  const style = BYTE_LEVEL_STYLES[metadata.choice("tokenizer.ggml.pre", Object.keys(BYTE_LEVEL_STYLES))]!;
  return {
    normalizer: style.normalizer,
    preTokenizer: style.preTokenizer,
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: { merges: metadata.strings("tokenizer.ggml.merges"), ignore_merges: style.ignoreMerges },
    addsBos: addsBos(metadata, style.addsBos),
  };
}

function sentencepieceParts(metadata: Settings, tokens: readonly string[], unknown: string | undefined): Parts {
  const addsSpace = metadata.boolean("tokenizer.ggml.add_space_prefix", true);
  const replace = { type: "Replace", pattern: { String: " " }, content: "▁" };
  const decoders = [
    { type: "Replace", pattern: { String: "▁" }, content: " " },
    { type: "ByteFallback" },
    { type: "Fuse" },
  ];
  return {
    normalizer: addsSpace ? { type: "Sequence", normalizers: [{ type: "Prepend", prepend: "▁" }, replace] } : replace,
    preTokenizer: null,
    decoder: {
      type: "Sequence",
      decoders: addsSpace ? [...decoders, { type: "Strip", content: " ", start: 1, stop: 0 }] : decoders,
    },
    model: {
      merges: mergesOf(tokens, metadata.numbers("tokenizer.ggml.scores")),
      byte_fallback: true,
      fuse_unk: true,
      unk_token: unknown ?? null,
    },
    addsBos: addsBos(metadata, true),
  };
}

/**
 * Sentencepiece joins the two neighbours whose joint has the highest score; as a list of merges: every way to make a token of two
 * others, the best joint first, and of one joint's ways the one with the most common parts.
 */
function mergesOf(tokens: readonly string[], scores: readonly number[]): [string, string][] {
  const ids = new Map(tokens.map((token, id) => [token, id]));
  const merges: { readonly left: number; readonly right: number; readonly score: number }[] = [];
  tokens.forEach((token, id) => {
    const letters = [...token];
    let at = 0;
    for (const letter of letters.slice(0, -1)) {
      at += letter.length;
      const left = ids.get(token.slice(0, at));
      const right = ids.get(token.slice(at));
      if (left !== undefined && right !== undefined) merges.push({ left, right, score: scores[id] ?? 0 });
    }
  });
  merges.sort((a, b) => b.score - a.score || a.left - b.left || a.right - b.right);
  return merges.map(({ left, right }) => [tokens[left]!, tokens[right]!]);
}

function vocabularyOf(tokens: readonly string[]): Record<string, number> {
  const vocabulary = Object.create(null) as Record<string, number>;
  tokens.forEach((token, id) => (vocabulary[token] = id));
  return vocabulary;
}

/** Tokens that are found in a text before anything else; control tokens are left out when ids become text. */
function addedTokens(tokens: readonly string[], types: readonly number[]): object[] {
  return tokens.flatMap((content, id) => {
    const special = types[id] === CONTROL || types[id] === UNKNOWN;
    return special || types[id] === USER_DEFINED ? [{ id, content, special, normalized: false }] : [];
  });
}

function unknownToken(tokens: readonly string[], types: readonly number[]): string | undefined {
  return tokens[types.indexOf(UNKNOWN)];
}

/** Puts the begin and the end token around a text, where the model wants them. */
function surround(tokens: readonly string[], bos: string | undefined, eos: string | undefined): object | null {
  if (bos === undefined && eos === undefined) return null;
  const special = (token: string | undefined) =>
    token === undefined ? [] : [{ SpecialToken: { id: token, type_id: 0 } }];
  const text = (id: string, type: number) => ({ Sequence: { id, type_id: type } });
  const named = [bos, eos].filter((token) => token !== undefined);
  return {
    type: "TemplateProcessing",
    single: [...special(bos), text("A", 0), ...special(eos)],
    pair: [...special(bos), text("A", 0), text("B", 1), ...special(eos)],
    special_tokens: Object.fromEntries(
      named.map((token) => [token, { id: token, ids: [tokens.indexOf(token)], tokens: [token] }]),
    ),
  };
}
