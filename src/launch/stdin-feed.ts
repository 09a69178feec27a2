/**
 * Carries the launcher's standard input to the one rank that reads it, one chunk at a time: the next is read when the
 * rank has taken the last, so that a rank that does not read holds back the writer and not our memory.
 */
import { readFileSync } from "node:fs";
import { PassThrough, type Readable } from "node:stream";
import type { AgentConnection } from "./agent-connection.ts";
import { editLines } from "./line-editor.ts";

/** How a person at a terminal is answered. */
export interface Dialogue {
  /** What stands before the line that is being typed; the rank writes it. */
  readonly prompt: string;
  /** What Ctrl-C does. */
  readonly interrupt: () => void;
}

export class StdinFeed {
  readonly #input: NodeJS.ReadStream;
  readonly #agent: AgentConnection;
  readonly #dialogue: Dialogue | undefined;
  /** Undefined until it is read, and afterwards. */
  #chunks: Readable | undefined;

  /** @param dialogue with it, a terminal's input is read line by line, each edited before it is sent */
  constructor(input: NodeJS.ReadStream, agent: AgentConnection, dialogue?: Dialogue) {
    this.#input = input;
    this.#agent = agent;
    this.#dialogue = dialogue;
  }

  /** Begins to read, unless that would stop us: a terminal's input belongs to the job in its foreground. */
  start(): void {
    if (this.#chunks !== undefined || (this.#input.isTTY && !isInForeground())) return;
    const isTyped = this.#input.isTTY && this.#dialogue !== undefined;
    const chunks = isTyped ? readTypedLines(this.#input, this.#dialogue) : this.#input;
    chunks.on("data", (chunk: Buffer) => {
      chunks.pause();
      this.#agent.writeStdin(chunk);
    });
    chunks.on("end", () => this.#agent.endStdin());
    chunks.on("error", () => this.#agent.endStdin());
    this.#chunks = chunks;
  }

  /** The rank has taken the last chunk. */
  next(): void {
    this.#chunks?.resume();
  }

  /** Reads no more, so that the launcher can end. */
  stop(): void {
    this.#chunks?.destroy();
    this.#chunks = undefined;
  }
}

/** What is typed, line by line. */
function readTypedLines(terminal: NodeJS.ReadStream, { prompt, interrupt }: Dialogue): Readable {
  const lines = new PassThrough();
  const editor = editLines(terminal, prompt);
  editor.on("line", (line) => lines.write(`${line}\n`));
  editor.on("SIGINT", interrupt);
  editor.on("close", () => lines.end());
  lines.on("close", () => {
    editor.close();
    terminal.destroy();
  });
  return lines;
}

/** Whether this process is in the foreground of its terminal; the kernel stops a background process that reads. */
function isInForeground(): boolean {
  try {
    // After the command in parentheses: state, parent, process group, session, terminal, foreground process group.
    const fields = readFileSync("/proc/self/stat", "utf8").split(") ").at(-1)!.split(" ");
    return fields[2] === fields[5];
  } catch {
    return true; // no /proc: believe it
  }
}
