/**
 * Carries the launcher's standard input to the one rank that reads it, one chunk at a time: the next is read when the
 * rank has taken the last, so that a rank that does not read holds back the writer and not our memory.
 */
import { readFileSync } from "node:fs";
import type { AgentConnection } from "./agent-connection.ts";

export class StdinFeed {
  readonly #input: NodeJS.ReadStream;
  readonly #agent: AgentConnection;
  #isOpen = false;

  constructor(input: NodeJS.ReadStream, agent: AgentConnection) {
    this.#input = input;
    this.#agent = agent;
  }

  /** Begins to read, unless that would stop us: a terminal's input belongs to the job in its foreground. */
  start(): void {
    if (this.#isOpen || (this.#input.isTTY && !isInForeground())) return;
    this.#isOpen = true;
    this.#input.on("data", (chunk: Buffer) => {
      this.#input.pause();
      this.#agent.writeStdin(chunk);
    });
    this.#input.on("end", () => this.#agent.endStdin());
    this.#input.on("error", () => this.#agent.endStdin());
  }

  /** The rank has taken the last chunk. */
  next(): void {
    if (this.#isOpen) this.#input.resume();
  }

  /** Reads no more, so that the launcher can end. */
  stop(): void {
    if (this.#isOpen) this.#input.destroy();
    this.#isOpen = false;
  }
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
