/**
 * `shardrun chat`: a conversation with a chat model, in a terminal or through a pipe, where a line is a message. Rank 0 reads and
 * writes; the other ranks follow. Ctrl-C stops the answer that is being written, and ends the program when none is.
 */
import { createInterface, type Interface } from "node:readline";
import { Generator } from "../api/generator.ts";
import { resolveGenerationOptions, resolveMaxContext } from "../api/inputs.ts";
import { checkLoadOptions } from "../api/load.ts";
import { MpiInfo } from "../api/mpi-info.ts";
import { ROOT_RANK } from "../environment.ts";
import { editLines } from "../launch/line-editor.ts";
import { beginChat } from "../model/chat-template.ts";
import { chatEndTokens, loadModel } from "../model/model.ts";
import { Conversation } from "./conversation.ts";
import { DECODING_OPTIONS, readDecoding } from "./decoding.ts";
import { MODEL_OPTIONS, readLoadOptions, readModelDirectory } from "./model-options.ts";
import { readNumber, readText, VALUE, type Program } from "./options.ts";

const PROMPT = "> ";
const COMMANDS = "/reset begins anew, /exit ends; Ctrl-C stops an answer.";

export const chat: Program = {
  name: "chat",
  describe:
    "Talks with a chat model: each line is a message. /reset begins anew, /exit or Ctrl-D ends, Ctrl-C stops an answer.",
  options: {
    ...MODEL_OPTIONS,
    system: { ...VALUE, describe: "What the model is told before the conversation [default: its own]" },
    "max-length": { ...VALUE, describe: "Most new tokens of an answer [default: all that fit]" },
    ...DECODING_OPTIONS,
    interactive: {
      type: "boolean",
      describe: `Write "${PROMPT}" where a message is awaited [default: in a terminal]`,
    },
  },
  examples: [
    ["$0 chat -np 2 --model FILE.gguf", "a conversation over two ranks"],
    ['echo "What is 2 + 2?" | $0 chat --model DIR', "one message, one answer"],
  ],
  runsOnRanks: true,
  prompt: PROMPT,

  async checkWithModel(options) {
    const directory = readModelDirectory(options);
    const loadOptions = readLoadOptions(options);
    checkLoadOptions(directory, loadOptions);
    const model = await loadModel(directory);
    const maxContext = resolveMaxContext(model, loadOptions.maxContext);
    const maxLength = readNumber(options, "max-length") ?? maxContext;
    resolveGenerationOptions(model, { ...readDecoding(options), maxLength });
    model.tokenizer.applyChatTemplate(beginChat(readText(options, "system"), "?"));
    chatEndTokens(model);
  },

  /** Only this process sees whether there is a terminal: to rank 0 every input is a pipe. */
  rankArguments: () => (process.stdin.isTTY ? ["--interactive"] : []),

  async run(options) {
    if (MpiInfo.getCurRank() !== ROOT_RANK) {
      process.on("SIGINT", () => {}); // meant for rank 0
      return 0; // follows: the engine serves rank 0
    }
    await using generator = await Generator.load(readModelDirectory(options), readLoadOptions(options));
    const conversation = new Conversation(generator, {
      system: readText(options, "system"),
      maxLength: readNumber(options, "max-length"),
      decoding: readDecoding(options),
    });
    const terminal = new Terminal(options["interactive"] === true || process.stdin.isTTY);
    try {
      await converse(conversation, terminal);
    } finally {
      terminal.close();
    }
    return 0;
  },
};

async function converse(conversation: Conversation, terminal: Terminal): Promise<void> {
  if (terminal.isInteractive) process.stderr.write(`${COMMANDS}\n`);
  for (;;) {
    const line = (await terminal.nextLine())?.trim();
    if (line === undefined || line === "/exit") return;
    if (line === "") continue;
    if (line === "/reset") conversation.reset();
    else if (/^\/\w+$/.test(line)) process.stderr.write(`There is no ${line}: ${COMMANDS}\n`);
    else await answer(conversation, line, terminal);
  }
}

/** Writes the answer while it comes. */
async function answer(conversation: Conversation, message: string, terminal: Terminal): Promise<void> {
  const stop = new AbortController();
  terminal.onInterrupt = () => stop.abort();
  try {
    const numForgotten = conversation.add(message);
    if (numForgotten > 0) {
      process.stderr.write(`(${numForgotten} messages from the beginning no longer fit and were forgotten.)\n`);
    }
    for await (const text of conversation.answer(stop.signal)) process.stdout.write(text);
  } finally {
    terminal.onInterrupt = undefined;
  }
  process.stdout.write("\n");
}

/** Standard input as lines, and Ctrl-C. */
class Terminal {
  /** Whether someone is there to read the prompt sign. */
  readonly isInteractive: boolean;
  /** What Ctrl-C does; undefined: it ends the input. */
  onInterrupt: (() => void) | undefined;
  readonly #readline: Interface;
  readonly #lines: string[] = [];
  #isOpen = true;
  #wake = (): void => {};

  constructor(isInteractive: boolean) {
    this.isInteractive = isInteractive;
    // In a terminal, Ctrl-C is a key; else it is a signal.
    this.#readline = process.stdin.isTTY
      ? editLines(process.stdin, PROMPT)
      : createInterface({ input: process.stdin, terminal: false });
    this.#readline.on("line", (line) => {
      this.#lines.push(line);
      this.#wake();
    });
    this.#readline.on("close", () => {
      this.#isOpen = false;
      this.#wake();
    });
    this.#readline.on("SIGINT", () => this.#interrupt());
    process.on("SIGINT", () => this.#interrupt());
  }

  /** The next line; undefined at the end of the input. */
  async nextLine(): Promise<string | undefined> {
    if (this.isInteractive && this.#isOpen && this.#lines.length === 0) {
      if (process.stdin.isTTY) this.#readline.prompt();
      else process.stdout.write(PROMPT);
    }
    while (this.#lines.length === 0 && this.#isOpen) {
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    if (this.isInteractive && !this.#isOpen && this.#lines.length === 0) process.stdout.write("\n");
    return this.#lines.shift();
  }

  /** Reads no more, so that the program can end. */
  close(): void {
    this.#readline.close();
    process.stdin.destroy();
  }

  #interrupt(): void {
    if (this.onInterrupt !== undefined) {
      this.onInterrupt();
      return;
    }
    this.#lines.length = 0;
    this.close();
  }
}
