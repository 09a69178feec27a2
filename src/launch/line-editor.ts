/**
 * Lines typed at a terminal, edited and remembered by readline. Keys come one by one: Ctrl-C is a key like any other, and no signal to
 * all that stands between the terminal and us, such as npx and its shell, which would end of it.
 */
import { createInterface, type Interface } from "node:readline";

const CTRL_BACKSLASH = "\u001c";

/**
 * Emits "line", "SIGINT" for Ctrl-C, and "close" after Ctrl-D. Ctrl-\ ends this process as SIGTERM does.
 * @param prompt what stands before the line that is being typed
 */
export function editLines(terminal: NodeJS.ReadStream, prompt: string): Interface {
  const editor = createInterface({ input: terminal, output: process.stdout, terminal: true, prompt });
  terminal.on("keypress", (_, { sequence }: { sequence: string }) => {
    if (sequence === CTRL_BACKSLASH) process.kill(process.pid, "SIGTERM");
  });
  return editor;
}
