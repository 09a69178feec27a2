/**
 * Whatever is wrong with a command line, a model, a prompt or an option is said in one line that names it, with exit code 1,
 * and where that is possible before any rank is started: the launcher would name a rank that had failed.
 * @see bad-calls.test.ts for the same mistakes in the API
 */
import { beforeAll, describe, expect, test } from "@jest/globals";
import { readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { availableParallelism, hostname } from "node:os";
import { join } from "node:path";
import { runShardrun, type RunOptions } from "../support/run-shardrun.ts";
import { useTemporaryDirectory } from "../support/temporary-directory.ts";
import { TINY_GPT2, TINY_LLAMA, writeCheckpoint, writeConfig } from "../support/write-checkpoint.ts";
import { writeRawSafetensors } from "../support/write-safetensors.ts";

const DEMO_STORIES = join(import.meta.dirname, "../../models/demo-stories");
const root = useTemporaryDirectory();

/** Paths of this run, and what depends on this machine, replaced by words. */
function withoutPlaces(text: string): string {
  return text
    .replaceAll(DEMO_STORIES, "DEMO")
    .replaceAll(root, "ROOT")
    .replaceAll(hostname(), "HOST")
    .replaceAll(/PID \d+/g, "PID N");
}

async function expectRefusal(args: readonly string[], message: string, options: RunOptions = {}): Promise<void> {
  const { exitCode, stdout, stderr } = await runShardrun(args, options);
  expect({ exitCode, stdout, stderr: withoutPlaces(stderr) }).toEqual({
    exitCode: 1,
    stdout: "",
    stderr: `shardrun: ${message}\n`,
  });
}

/** On two ranks: a rank that failed would add a line of the launcher. */
const generate = (...args: string[]): string[] => ["generate", "-np", "2", "--oversubscribe", ...args];

describe("command line", () => {
  const numCores = availableParallelism();

  test.each<[args: string[], message: string]>([
    [
      ["bench", "-np", "2", "--compute-type", "int3"],
      'computeType is "int3", but must be "default", "float32", "int8" or "int4".',
    ],
    [["bench", "-np", "2", "--new-tokens", "0"], '--new-tokens expects a whole number of at least 1, received "0".'],
    [
      ["bench", "-np", "2", "--config", "llama-9b"],
      "--config expects llama-160m, llama-1b, llama-7b, smollm2-135m or a config.json, received \"llama-9b\": ENOENT: no such file or directory, open 'llama-9b'.",
    ],
    [
      ["plan", "-np", "2", "--config", "llama-7b", "--model", "/some/model"],
      "--model names a model, --config one of random weights: only one of them can be meant.",
    ],
    [["generate", "-np", "0"], '-np expects the number of ranks, a whole number of at least 1, received "0".'],
    [
      ["-np", "x", "node", "script.mjs"],
      '-np expects the number of ranks, a whole number of at least 1, received "x".',
    ],
    [
      ["generate", "-np", "99"],
      `There are not enough slots available in the system to satisfy the 99 slots that were requested: HOST has ${numCores}. ` +
        `Ask for at most ${numCores} ranks (-np ${numCores}), give the hosts more slots, or let ranks share slots with --oversubscribe.`,
    ],
    [
      ["-np", "2", "--frobnicate", "node", "script.mjs"],
      "Unknown option --frobnicate. shardrun --help shows all options; options of your program go after its name.",
    ],
    [generate("--frobnicate"), "Unknown option --frobnicate. shardrun generate --help shows all options."],
    [generate("--model"), "The option --model needs a value. shardrun generate --help shows what it takes."],
    [
      generate("Once upon a time"),
      '"Once upon a time" belongs to no option of shardrun generate. shardrun generate --help shows all options.',
    ],
    [generate("--temperature", "NaN"), '--temperature expects a number, received "NaN".'],
    [
      generate("--temperature", "-1"),
      "samplingTemperature is -1, but must be a number of 0 or more (0 always takes the likeliest token).",
    ],
    [generate("--top-p", "2"), "samplingTopp is 2, but must be a number above 0, at most 1."],
    [generate("--max-length", "-5"), "maxLength is -5, but must be a whole number of 0 or more."],
    [
      generate("--min-length", "9", "--max-length", "5"),
      "minLength 9 is greater than maxLength 5: lower the one or raise the other.",
    ],
    [
      generate("--temperature", "1", "--top-k", "9999"),
      "samplingTopk is 9999, which is greater than the vocabulary of 576 tokens: give at most 576, or 0 to sample from all.",
    ],
    [generate("--intra-threads", "many"), '--intra-threads expects a number, received "many".'],
    [
      generate("--max-context", "1000"),
      "maxContext is 1000, but the model of DEMO has 256 positions: give at most that.",
    ],
    [
      ["generate", "--dump-graph", "/no/such/directory/model.onnx"],
      "Writing the graph to /no/such/directory/model.onnx failed: ENOENT: no such file or directory, open '/no/such/directory/model.onnx'.",
    ],
    [
      ["plan", "-np", "2", "--model", "/no/such/model"],
      'Model "/no/such/model" does not exist: expected a checkpoint directory or a GGUF file.',
    ],
    [
      ["plan", "-np", "2", "--predict", "--one-machine"],
      "--one-machine expects --link: ranks that are started say which machine they are on.",
    ],
    [["plan", "--predict"], "--predict expects -np of at least 2: it tells how fast 1 rank to so many would be."],
    [
      ["plan", "--predict", "-np", "2", "--link", "fast"],
      '--link expects a rate and the time of a small message one way, like 1Gbit,0.2ms, received "fast".',
    ],
    [["plan", "-np", "2", "--link", "1Gbit,0.2ms"], "--link belongs to --predict."],
  ])("%j", (args, message) => expectRefusal(args, message));

  test("a program that does not exist has mpirun's exit code", async () => {
    const { exitCode, stdout, stderr } = await runShardrun(["-np", "2", "--oversubscribe", "no-such-program"]);
    expect({ exitCode, stdout, stderr: withoutPlaces(stderr) }).toEqual({
      exitCode: 132,
      stdout: "",
      stderr:
        'shardrun: Could not find the program "no-such-program" on host HOST: no directory in PATH has it. ' +
        "Check its spelling, or give its path. No rank was started.\n",
    });
  });
});

describe("prompts", () => {
  const lines = join(root, "prompts.jsonl");
  beforeAll(() => {
    writeFileSync(lines, '{"prompt": "Once"}\n\n{"promptIds": [1, 411]}\n{"promt": "upon"}\n');
    writeFileSync(join(root, "damaged.jsonl"), `{"prompt": "Once\n`);
    writeFileSync(join(root, "empty-prompt.jsonl"), `{"promptIds": []}\n`);
  });

  test.each<[what: string, args: string[], message: string]>([
    [
      "a negative token id",
      ["--prompt-ids", "1,-1"],
      "Prompt 0 holds the token id -1, but the model's token ids go from 0 to 575.",
    ],
    [
      "a token id past the vocabulary",
      ["--prompt-ids", "1,576"],
      "Prompt 0 holds the token id 576, but the model's token ids go from 0 to 575.",
    ],
    [
      "half a token id",
      ["--prompt-ids", "1,1.5"],
      '--prompt-ids expects token ids with commas between them, received "1,1.5".',
    ],
    ["no token ids", ["--prompt-ids", ""], '--prompt-ids expects token ids with commas between them, received "".'],
    [
      "a prompt longer than the model's context",
      ["--prompt-ids", Array<number>(257).fill(411).join(",")],
      "Prompt 0 has 257 tokens, but the model's context holds 256: shorten the prompt.",
    ],
    [
      "a second prompt longer than the context asked for",
      ["--prompt", "Once", "--prompt", "Once upon a time there was a boy", "--max-context", "4"],
      "Prompt 1 has 9 tokens, but the model's context holds 4: shorten the prompt.",
    ],
    [
      "a missing file",
      ["--input", "/no/such/file"],
      "Reading the prompts of /no/such/file failed: ENOENT: no such file or directory, open '/no/such/file'.",
    ],
    [
      "a line with another key",
      ["--input", lines],
      'ROOT/prompts.jsonl:4: expected {"prompt": "text"} or {"promptIds": [ids]}, received {"promt": "upon"}',
    ],
    [
      "a line that is not JSON",
      ["--input", join(root, "damaged.jsonl")],
      'ROOT/damaged.jsonl:1: expected a line of JSON, received {"prompt": "Once',
    ],
    [
      "an empty prompt",
      ["--input", join(root, "empty-prompt.jsonl")],
      "Prompt 0 has no tokens: give at least one, for example the model's beginning token.",
    ],
  ])("%s", (_, args, message) => expectRefusal(generate(...args), message));

  test("on standard input, which rank 0 alone can read", () =>
    expectRefusal(
      generate("--input", "-"),
      'stdin:2: expected a line of JSON, received {"prompt"\n' +
        "shardrun: process rank 0 with PID N on host HOST exited with exit code 1; the other ranks were ended.",
      { stdin: '{"prompt": "Once"}\n{"prompt"\n' },
    ));
});

describe("models", () => {
  const model = join(root, "model");
  const file = join(model, "model.safetensors");
  const named = (problem: string): string =>
    `Reading "ROOT/model/model.safetensors" failed: ${problem}. The file is damaged or truncated: download or convert it again.`;

  interface HeaderEntry {
    dtype: string;
    shape: unknown[];
    data_offsets: [number, number];
  }

  /** Rewrites the header of the weights; the data stay. */
  function rewriteHeader(change: (header: Record<string, HeaderEntry>) => void): void {
    const bytes = readFileSync(file);
    const end = 8 + Number(bytes.readBigUInt64LE());
    const header = JSON.parse(bytes.subarray(8, end).toString()) as Record<string, HeaderEntry>;
    change(header);
    writeRawSafetensors(file, JSON.stringify(header), bytes.subarray(end));
  }

  const LAST = "lm_head.weight";
  const FIRST = "model.embed_tokens.weight";

  test.each<[what: string, damage: () => void, message: string]>([
    [
      "no directory",
      () => rmSync(model, { recursive: true }),
      'Model "ROOT/model" does not exist: expected a checkpoint directory or a GGUF file.',
    ],
    [
      "no config.json",
      () => rmSync(join(model, "config.json")),
      'Model directory "ROOT/model" holds no config.json: pass a checkpoint in Hugging Face layout (config.json, model.safetensors), or a GGUF file.',
    ],
    [
      "config.json is not JSON",
      () => writeFileSync(join(model, "config.json"), "<html>"),
      'Reading "ROOT/model/config.json" failed: not valid JSON (Unexpected token \'<\', "<html>" is not valid JSON).',
    ],
    [
      "no weights",
      () => rmSync(file),
      'Model directory "ROOT/model" holds no weights: expected model.safetensors or model.safetensors.index.json.',
    ],
    [
      "an unknown family",
      () => writeConfig(model, { ...TINY_LLAMA, model_type: "mamba", architectures: ["MambaForCausalLM"] }),
      '"model_type" in "ROOT/model/config.json": expected one of "llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "phi3", "starcoder2", "gpt2", received "mamba".',
    ],
    [
      "a config without a size",
      () => writeConfig(model, { ...TINY_LLAMA, hidden_size: undefined }),
      '"hidden_size" in "ROOT/model/config.json": expected an integer of at least 1, but the key is missing.',
    ],
    [
      "a config with another hidden size",
      () => writeConfig(model, { ...TINY_LLAMA, hidden_size: 48 }),
      'Tensor "model.embed_tokens.weight" in "ROOT/model/model.safetensors" has shape [40, 24], but config.json implies [40, 48]. ' +
        "Check that config.json and the weights are of the same model.",
    ],
    [
      "a config with more layers",
      () => writeConfig(model, { ...TINY_LLAMA, num_hidden_layers: 3 }),
      'Tensor "model.layers.2.input_layernorm.weight" [24], which config.json implies, is missing from the checkpoint "ROOT/model" (21 tensors). ' +
        "Check that config.json and the weights are of the same model.",
    ],
    [
      "a config with fewer layers",
      () => writeConfig(model, { ...TINY_LLAMA, num_hidden_layers: 1 }),
      'Tensor "model.layers.1.input_layernorm.weight" in "ROOT/model/model.safetensors" has no place in the model that config.json describes (9 such tensors). ' +
        "Check that config.json and the weights are of the same model.",
    ],
    [
      "weights of another family",
      () => writeConfig(model, TINY_GPT2),
      'Tensor "transformer.wpe.weight" [64, 24], which config.json implies, is missing from the checkpoint "ROOT/model" (21 tensors). ' +
        "Check that config.json and the weights are of the same model.",
    ],
    [
      "truncated weights",
      () => truncateSync(file, 20_000),
      named(
        'tensor "model.layers.1.self_attn.q_proj.weight" ends at byte 18336 of the data, but the file holds 17917 bytes of data',
      ),
    ],
    [
      "weights cut in the header",
      () => truncateSync(file, 100),
      named("its header claims 2075 bytes, but the file ends after 100"),
    ],
    [
      "weights cut in the length",
      () => truncateSync(file, 5),
      named("it has 5 bytes, fewer than the 8 of the header's length"),
    ],
    [
      "a web page in place of the weights",
      () => writeFileSync(file, "<!DOCTYPE html><html>Not found</html>"),
      named("its header claims 5789751444030890300 bytes, more than the 100000000 that the format allows"),
    ],
    [
      "a header of 2^63 bytes",
      () => writeRawSafetensors(file, "{}", new Uint8Array(0), 2n ** 63n),
      named("its header claims 9223372036854775808 bytes, more than the 100000000 that the format allows"),
    ],
    [
      "an offset past the end",
      () => rewriteHeader((header) => (header[LAST]!.data_offsets[1] += 4096)),
      named('tensor "lm_head.weight" ends at byte 36064 of the data, but the file holds 31968 bytes of data'),
    ],
    [
      "overlapping tensors",
      () =>
        rewriteHeader((header) => {
          const { data_offsets: offsets } = header[LAST]!;
          header[LAST]!.data_offsets = [offsets[0] - 8, offsets[1] - 8];
        }),
      named('tensor "lm_head.weight" overlaps tensor "model.norm.weight" by 8 bytes'),
    ],
    [
      "a dtype of another size",
      () => rewriteHeader((header) => (header[FIRST]!.dtype = "F16")),
      named('tensor "model.embed_tokens.weight" [40, 24] F16 needs 1920 bytes, but its data_offsets hold 3840'),
    ],
    [
      "a dtype that there is not",
      () => rewriteHeader((header) => (header[FIRST]!.dtype = "F33")),
      named('tensor "model.embed_tokens.weight" has an unknown dtype "F33"'),
    ],
    [
      "a dtype that is not supported",
      () => rewriteHeader((header) => Object.assign(header[FIRST]!, { dtype: "I32" })),
      'Tensor "model.embed_tokens.weight" in "ROOT/model/model.safetensors" is stored as I32; supported are F32, F16, BF16. ' +
        "Convert the checkpoint to one of them.",
    ],
    [
      "a shape of 2^63",
      () => rewriteHeader((header) => (header[FIRST]!.shape = [2 ** 63, 1])),
      named('tensor "model.embed_tokens.weight" has a shape that is not a list of sizes: [9223372036854776000,1]'),
    ],
    [
      "a shape whose size overflows",
      () => rewriteHeader((header) => (header[FIRST]!.shape = [2 ** 32, 2 ** 32])),
      named(
        'tensor "model.embed_tokens.weight" [4294967296, 4294967296] F32 needs 73786976294838206464 bytes, but its data_offsets hold 3840',
      ),
    ],
    [
      "a negative size",
      () => rewriteHeader((header) => (header[FIRST]!.shape = [-40, -24])),
      named('tensor "model.embed_tokens.weight" has a shape that is not a list of sizes: [-40,-24]'),
    ],
    [
      "a shard that is missing",
      () => {
        rmSync(file);
        writeCheckpoint(model, { config: TINY_LLAMA, numFiles: 3 });
        rmSync(join(model, "model-00002-of-00003.safetensors"));
      },
      '"ROOT/model/model-00002-of-00003.safetensors", which "ROOT/model/model.safetensors.index.json" lists, does not exist: download the missing shard.',
    ],
    [
      "text for a model without a tokenizer",
      () => {},
      'Model "ROOT/model" has no tokenizer.json, so it has no text: pass and read token ids, or add tokenizer.json to the directory.',
    ],
  ])("%s", async (_, damage, message) => {
    rmSync(model, { recursive: true, force: true });
    writeCheckpoint(model, { config: TINY_LLAMA });
    damage();
    await expectRefusal(generate("--model", model), message);
  });
});
