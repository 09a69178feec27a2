/**
 * Runs a command in a terminal of its own (util-linux's script makes it), types into it, and reads what appears there. A shell waits
 * for the command, as it does under npx: what the terminal signals to its foreground, both get.
 */
import { spawn } from "node:child_process";

/** Keys with a meaning for the terminal. */
export const CTRL_C = "\u0003";
export const CTRL_D = "\u0004";
export const CTRL_Q = "\u0011";
export const CTRL_S = "\u0013";
export const CTRL_BACKSLASH = "\u001c";
export const UP = "\u001b[A";

/** Of what has appeared, in the error of a wait in vain. */
const SHOWN_CHARACTERS = 1000;

export class PseudoTerminal {
  /** All that has appeared. */
  output = "";
  /** The command's exit code. */
  readonly ended: Promise<number | null>;
  readonly #script;
  #read = 0;

  /** @param type of the terminal: a dumb one shows what a program prints and nothing else */
  constructor(command: readonly string[], type: "dumb" | "xterm" = "dumb") {
    const quoted = command.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(" ");
    this.#script = spawn("script", ["--quiet", "--return", "--command", `${quoted}; exit $?`, "/dev/null"], {
      env: { ...process.env, NODE_OPTIONS: "", TERM: type, SHELL: "/bin/sh" },
    });
    this.#script.stdout.setEncoding("utf8").on("data", (text: string) => (this.output += text));
    this.ended = new Promise((resolve) => this.#script.on("close", resolve));
  }

  type(keys: string): void {
    this.#script.stdin.write(keys);
  }

  /** Waits until this appears after what was waited for before. @throws when it does not within 30 s */
  async waitFor(text: string | RegExp): Promise<void> {
    const deadline = performance.now() + 30_000;
    for (;;) {
      const rest = this.output.slice(this.#read);
      const [found] = typeof text === "string" ? [rest.includes(text) ? text : undefined] : (text.exec(rest) ?? []);
      if (found !== undefined) {
        this.#read += rest.indexOf(found) + found.length;
        return;
      }
      if (performance.now() > deadline)
        throw new Error(`${String(text)} did not appear in: ${JSON.stringify(this.output.slice(-SHOWN_CHARACTERS))}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  kill(): void {
    this.#script.kill("SIGKILL");
  }
}
