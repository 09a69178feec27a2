/**
 * How byte-level tokenizers cut a text into words before they merge bytes: GGUF files only name the way (tokenizer.ggml.pre),
 * tokenizer.json spells it out. From the one to the other.
 */

/** What tokenizer.json says of a byte-level tokenizer beside vocabulary and merges. */
export interface ByteLevelStyle {
  readonly normalizer: object | null;
  readonly preTokenizer: object;
  /** A word that is in the vocabulary is taken whole, whatever the merges would make of it. */
  readonly ignoreMerges: boolean;
  /** Whether a text begins with the begin token when the file does not say. */
  readonly addsBos: boolean;
}

const byteLevel = (useRegex: boolean) => ({
  type: "ByteLevel",
  add_prefix_space: false,
  trim_offsets: true,
  use_regex: useRegex,
});
const sequence = (...pretokenizers: object[]) => ({ type: "Sequence", pretokenizers });
const split = (regex: string) => ({ type: "Split", pattern: { Regex: regex }, behavior: "Isolated", invert: false });

/** GPT-2's own expression is what ByteLevel has built in. */
const GPT2: ByteLevelStyle = { normalizer: null, preTokenizer: byteLevel(true), ignoreMerges: false, addsBos: false };

/** Each digit apart. */
const SINGLE_DIGITS: ByteLevelStyle = {
  ...GPT2,
  preTokenizer: sequence({ type: "Digits", individual_digits: true }, byteLevel(true)),
};

/** The expression that GPT-4 began; `digits` of a number stay together. */
const gpt4Regex = (digits: string): string =>
  `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`;

const GPT4: ByteLevelStyle = {
  ...GPT2,
  preTokenizer: sequence(split(gpt4Regex("\\p{N}{1,3}")), byteLevel(false)),
};
const LLAMA3: ByteLevelStyle = { ...GPT4, ignoreMerges: true, addsBos: true };
const QWEN2: ByteLevelStyle = {
  ...GPT2,
  normalizer: { type: "NFC" },
  preTokenizer: sequence(split(gpt4Regex("\\p{N}")), byteLevel(false)),
};

/** By the names of tokenizer.ggml.pre. */
export const BYTE_LEVEL_STYLES: Readonly<Record<string, ByteLevelStyle>> = {
  "gpt-2": GPT2,
  "phi-2": GPT2,
  smollm: SINGLE_DIGITS,
  starcoder: SINGLE_DIGITS,
  refact: SINGLE_DIGITS,
  codeshell: SINGLE_DIGITS,
  "command-r": SINGLE_DIGITS,
  dbrx: GPT4,
  "llama-bpe": LLAMA3,
  llama3: LLAMA3,
  "llama-v3": LLAMA3,
  "smaug-bpe": LLAMA3,
  qwen2: QWEN2,
  "deepseek-r1-qwen": QWEN2,
};
