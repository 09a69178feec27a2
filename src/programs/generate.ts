/**
 * `shardrun generate`: continues prompts from the command line, a file or standard input, over as many ranks as -np says.
 * One prompt is streamed as it is written; --json prints one line per prompt.
 */
import { Generator } from "../api/generator.ts";
import { resolveGenerationOptions, resolveInputs, resolveMaxContext } from "../api/inputs.ts";
import { checkLoadOptions } from "../api/load.ts";
import { MpiInfo } from "../api/mpi-info.ts";
import type { GenerationOptions } from "../decode/options.ts";
import { native } from "../collective/native.ts";
import { ROOT_RANK } from "../environment.ts";
import { ShardrunError, UsageError } from "../errors.ts";
import { beginChat } from "../model/chat-template.ts";
import type { ComputeOptions } from "../model/compute-type.ts";
import { chatEndTokens, loadModel, type Model } from "../model/model.ts";
import { writeOnnxFile } from "../model/onnx-file.ts";
import { TextStream } from "../model/text-stream.ts";
import { makeWeight } from "../shards/make-weight.ts";
import { DECODING_OPTIONS, readDecoding } from "./decoding.ts";
import { MODEL_OPTIONS, readComputeOptions, readLoadOptions, readModelDirectory } from "./model-options.ts";
import { readNumber, readText, VALUE, type Program, type ProgramArguments } from "./options.ts";
import { PROMPT_OPTIONS, readPrompts, readsStandardInput, type GivenPrompt } from "./prompts.ts";
import { describeStatistics } from "./summary.ts";

/** A prompt ready to be continued; `text` is undefined when it was given as ids. */
interface Prompt {
  readonly text: string | undefined;
  readonly ids: readonly number[];
}

export const generate: Program = {
  name: "generate",
  describe: "Continues prompts with a language model.",
  options: {
    ...MODEL_OPTIONS,
    ...PROMPT_OPTIONS,
    "max-length": { ...VALUE, describe: "Most new tokens [default: 256]" },
    ...DECODING_OPTIONS,
    chat: { type: "boolean", describe: "Each prompt is a message to a chat model; what is printed is its answer" },
    system: { ...VALUE, describe: "With --chat: what the model is told before the message [default: its own]" },
    json: { type: "boolean", describe: "Print one JSON line per prompt" },
    quiet: { type: "boolean", describe: "No summary line on standard error" },
    "dump-graph": { ...VALUE, describe: "Write the model's graph to this ONNX file and end" },
  },
  examples: [
    ["$0 generate", "the bundled model on one rank"],
    ['$0 generate -np 2 --model DIR --prompt "Once upon a time"', "any checkpoint on two ranks"],
    ['$0 generate --model FILE.gguf --chat --prompt "What is the capital of France?"', "an answer of a chat model"],
    ["$0 generate --model DIR --input prompts.jsonl --json", "many prompts, one JSON line each"],
  ],
  runsOnRanks: true,

  async checkWithModel(options) {
    const directory = readModelDirectory(options);
    const loadOptions = readLoadOptions(options);
    checkLoadOptions(directory, loadOptions);
    const model = await loadModel(directory, { maxContext: loadOptions.maxContext });
    const maxContext = resolveMaxContext(model, loadOptions.maxContext);
    resolveGenerationOptions(model, readGeneration(options, model));
    if (!readsStandardInput(options)) {
      const prompts = await readPrompts(options);
      resolveInputs(
        model,
        maxContext,
        prompts.map((prompt) => encodePrompt(model, prompt, options).ids),
      );
    }
  },

  async run(options) {
    if (MpiInfo.getCurRank() !== ROOT_RANK) {
      return 0; // follows: the engine serves rank 0
    }
    const graphFile = readText(options, "dump-graph");
    if (graphFile !== undefined) {
      return dumpGraph(readModelDirectory(options), readComputeOptions(options), graphFile);
    }
    const given = await readPrompts(options);
    await using generator = await Generator.load(readModelDirectory(options), readLoadOptions(options));
    const decoding = readGeneration(options, generator.model);
    const prompts = given.map((prompt) => encodePrompt(generator.model, prompt, options));
    if (options["json"] !== true && prompts.length === 1) {
      await streamText(generator, prompts[0]!, decoding, isChat(options));
    } else {
      await printResults(generator, prompts, decoding, { asJson: options["json"] === true, chats: isChat(options) });
    }
    if (options["quiet"] !== true) {
      process.stderr.write(`${describeStatistics(await generator.statistics())}\n`);
    }
    return 0;
  },
};

async function dumpGraph(directory: string, compute: ComputeOptions, file: string): Promise<number> {
  const { graph } = await loadModel(directory, compute);
  try {
    await writeOnnxFile(graph, file, (weight) => makeWeight(weight, native().mapFile));
  } catch (cause) {
    throw cause instanceof ShardrunError
      ? cause
      : new UsageError(`Writing the graph to ${file} failed: ${(cause as Error).message}.`, { cause });
  }
  process.stderr.write(`Wrote the graph of ${directory} to ${file}.\n`);
  return 0;
}

/** How the tokens after `prompt` are chosen; an answer ends where the chat template says. */
function readGeneration(options: ProgramArguments, model: Model): GenerationOptions {
  const decoding = { ...readDecoding(options), maxLength: readNumber(options, "max-length") ?? 256 };
  return isChat(options) ? { ...decoding, endToken: chatEndTokens(model) } : decoding;
}

/** @throws {UsageError} when there is a --system and no --chat */
function isChat(options: ProgramArguments): boolean {
  const chats = options["chat"] === true;
  if (!chats && readText(options, "system") !== undefined) {
    throw new UsageError("--system is what a chat model is told: it needs --chat.");
  }
  return chats;
}

function encodePrompt({ tokenizer }: Model, prompt: GivenPrompt, options: ProgramArguments): Prompt {
  if ("ids" in prompt) return { text: undefined, ids: prompt.ids };
  const { text } = prompt;
  if (!isChat(options)) return { text, ids: tokenizer.encode(text) };
  return { text, ids: tokenizer.applyChatTemplate(beginChat(readText(options, "system"), text)) };
}

async function streamText(
  generator: Generator,
  prompt: Prompt,
  decoding: GenerationOptions,
  chats: boolean,
): Promise<void> {
  const { tokenizer } = generator.model;
  const stream = tokenizer.isAvailable ? new TextStream(tokenizer, chats ? [] : prompt.ids) : undefined;
  for await (const { tokenId } of generator.generateTokens(prompt.ids, decoding)) {
    process.stdout.write(stream === undefined ? `${tokenId} ` : stream.push(tokenId));
  }
  process.stdout.write(`${stream?.flush() ?? ""}\n`);
}

async function printResults(
  generator: Generator,
  prompts: readonly Prompt[],
  decoding: GenerationOptions,
  { asJson, chats }: { readonly asJson: boolean; readonly chats: boolean },
): Promise<void> {
  const results = await generator.generateBatch(
    prompts.map((prompt) => prompt.ids),
    decoding,
  );
  const { tokenizer } = generator.model;
  results.forEach((result, index) => {
    const prompt = prompts[index]!;
    const ids = result.sequencesIds[0]!;
    const text = tokenizer.isAvailable ? continueText(generator, chats ? [] : prompt.ids, ids) : undefined;
    if (!asJson) {
      process.stdout.write(`${text ?? ids.join(" ")}\n`);
      return;
    }
    const promptText = prompt.text ?? (tokenizer.isAvailable ? generator.decode(prompt.ids) : undefined);
    const line = {
      prompt: promptText,
      ids,
      text,
      finishReason: result.finishReasons[0],
      numPromptTokens: prompt.ids.length,
    };
    process.stdout.write(`${JSON.stringify(line)}\n`);
  });
}

/** The text of new tokens as it continues the prompt's; an answer continues nothing. */
function continueText(generator: Generator, promptIds: readonly number[], ids: readonly number[]): string {
  const stream = new TextStream(generator.model.tokenizer, promptIds);
  return ids.map((id) => stream.push(id)).join("") + stream.flush();
}
