import { describe, expect, test } from "@jest/globals";
import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ModelError } from "../../../src/errors.ts";
import { readConfig, readGenerationSettings, resolveGenerationConfig } from "../../../src/model/config.ts";
import { findFamily } from "../../../src/model/families.ts";
import { Settings } from "../../../src/model/settings.ts";
import { useTemporaryDirectory } from "../../support/temporary-directory.ts";

const root = useTemporaryDirectory();
const newDirectory = (): string => mkdtempSync(join(root, "model-"));
const settings = (values: Record<string, unknown>): Settings => new Settings("config.json", values);

describe("config.json", () => {
  test("a directory without config.json", () => {
    const directory = newDirectory();
    expect(() => readConfig(directory)).toThrow(
      new ModelError(
        `Model directory "${directory}" holds no config.json: pass a checkpoint in Hugging Face layout (config.json, model.safetensors), or a GGUF file.`,
      ),
    );
    const file = join(directory, "model.gguf");
    writeFileSync(file, "");
    expect(() => readConfig(directory)).toThrow(
      new ModelError(`Model directory "${directory}" holds no config.json: pass the GGUF file in it, "${file}".`),
    );
  });

  test("one that cannot be read", () => {
    const directory = newDirectory();
    const file = join(directory, "config.json");
    mkdirSync(file);
    expect(() => readConfig(directory)).toThrow(
      expect.objectContaining({
        code: "ERR_SHARDRUN_MODEL",
        message: `Reading "${file}" failed: it is not a file.`,
      }),
    );
  });

  test("one that is no JSON object", () => {
    const directory = newDirectory();
    const file = join(directory, "config.json");
    writeFileSync(file, "[1]");
    expect(() => readConfig(directory)).toThrow(new ModelError(`Reading "${file}" failed: expected a JSON object.`));
    writeFileSync(file, '{"a": }');
    expect(() => readConfig(directory)).toThrow(
      expect.objectContaining({
        code: "ERR_SHARDRUN_MODEL",
        message: `Reading "${file}" failed: not valid JSON (Unexpected token '}', "{"a": }" is not valid JSON).`,
      }),
    );
  });
});

describe("settings", () => {
  const values = settings({
    size: 4,
    none: null,
    rate: 0.5,
    on: true,
    word: "a",
    list: ["x"],
    part: { size: 0 },
    ids: [2, -1, 7],
  });

  test("give what is there, else the fallback; null is absent", () => {
    expect(values.integer("size")).toBe(4);
    expect(values.integer("none", 3)).toBe(3);
    expect(values.integer("missing", 0, 0)).toBe(0);
    expect(values.positive("rate")).toBe(0.5);
    expect(values.number("missing", 0)).toBe(0);
    expect(values.boolean("on", false)).toBe(true);
    expect(values.choice("word", ["a", "b"])).toBe("a");
    expect(values.choice("missing", ["a", "b"], "b")).toBe("b");
    expect(values.strings("list")).toEqual(["x"]);
    expect(values.strings("missing")).toEqual([]);
    expect(values.tokenIds("ids")).toEqual([2, 7]);
    expect(values.tokenIds("size")).toEqual([4]);
    expect(values.tokenIds("none")).toEqual([]);
    expect(values.has("none")).toBe(false);
    expect(values.has("toString")).toBe(false);
    expect(values.section("missing")).toBeUndefined();
  });

  test.each<[string, () => unknown, string]>([
    [
      "a missing integer",
      () => values.integer("gone"),
      '"gone" in "config.json": expected an integer of at least 1, but the key is missing.',
    ],
    [
      "an integer too small",
      () => values.section("part")!.integer("size"),
      '"part.size" in "config.json": expected an integer of at least 1, received 0.',
    ],
    [
      "a fraction",
      () => values.integer("rate"),
      '"rate" in "config.json": expected an integer of at least 1, received 0.5.',
    ],
    ["no number", () => values.positive("word"), '"word" in "config.json": expected a number above 0, received "a".'],
    [
      "no number, may be 0",
      () => values.number("word", 0),
      '"word" in "config.json": expected a number of at least 0, received "a".',
    ],
    ["no boolean", () => values.boolean("size", true), '"size" in "config.json": expected true or false, received 4.'],
    [
      "an unknown word",
      () => values.choice("word", ["b", "c"]),
      '"word" in "config.json": expected one of "b", "c", received "a".',
    ],
    [
      "no list of strings",
      () => values.strings("ids"),
      '"ids" in "config.json": expected a list of strings, received [2,-1,7].',
    ],
    [
      "no token ids",
      () => values.tokenIds("list"),
      '"list" in "config.json": expected a token id or a list of token ids, received ["x"].',
    ],
    ["no object", () => values.section("list"), '"list" in "config.json": expected an object, received ["x"].'],
  ])("refuse %s", (_, read, message) => {
    expect(read).toThrow(new ModelError(message));
  });
});

describe("generation config", () => {
  const write = (directory: string, values: unknown): void =>
    writeFileSync(join(directory, "generation_config.json"), JSON.stringify(values));

  test("comes from config.json where there is no generation_config.json", () => {
    const config = settings({ bos_token_id: 1, eos_token_id: 2, pad_token_id: -1 });
    expect(resolveGenerationConfig(readGenerationSettings(newDirectory()), config)).toEqual({
      bosTokenId: 1,
      eosTokenIds: [2],
      padTokenId: undefined,
      doSample: false,
      temperature: 1,
      topK: 0,
      topP: 1,
      repetitionPenalty: 1,
    });
  });

  test("generation_config.json goes first", () => {
    const directory = newDirectory();
    write(directory, {
      eos_token_id: [5, 6],
      do_sample: true,
      temperature: 0.6,
      top_k: 40,
      top_p: 0.9,
      repetition_penalty: 1.1,
    });
    const config = settings({ bos_token_id: 1, eos_token_id: 2 });
    expect(resolveGenerationConfig(readGenerationSettings(directory), config)).toEqual({
      bosTokenId: 1,
      eosTokenIds: [5, 6],
      padTokenId: undefined,
      doSample: true,
      temperature: 0.6,
      topK: 40,
      topP: 0.9,
      repetitionPenalty: 1.1,
    });
  });

  test("a value that makes no sense is refused", () => {
    const directory = newDirectory();
    write(directory, { temperature: "hot" });
    const file = join(directory, "generation_config.json");
    expect(() => resolveGenerationConfig(readGenerationSettings(directory), settings({}))).toThrow(
      new ModelError(`"temperature" in "${file}": expected a number of at least 0, received "hot".`),
    );
  });
});

describe("families", () => {
  test("are found by model_type", () => {
    expect(findFamily(settings({ model_type: "llama" })).modelType).toBe("llama");
    expect(findFamily(settings({ model_type: "gpt2", architectures: ["GPT2LMHeadModel"] })).modelType).toBe("gpt2");
  });

  const known = '"llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "phi3", "starcoder2", "gpt2"';

  test.each([
    [{ model_type: "marian" }, `"model_type" in "config.json": expected one of ${known}, received "marian".`],
    [{}, `"model_type" in "config.json": expected one of ${known}, but the key is missing.`],
    [
      { model_type: "llama", architectures: ["LlamaForSequenceClassification"] },
      '"architectures": ["LlamaForSequenceClassification"] in "config.json" is not supported: model type "llama" is built as LlamaForCausalLM.',
    ],
    [
      { model_type: "llama", quantization_config: { quant_method: "gptq" } },
      '"quantization_config": {"quant_method":"gptq"} in "config.json" is not supported: convert the checkpoint to F32, F16 or BF16.',
    ],
  ])("%j is refused", (values, message) => {
    expect(() => findFamily(settings(values))).toThrow(new ModelError(message));
  });
});
