/** The launcher's own stdout and stderr, as the ranks' output goes there. */
import { createWriteStream } from "node:fs";
import type { Writable } from "node:stream";
import type { StreamName } from "./rank-output.ts";

/**
 * Node waits for a terminal to take what is written. One that Ctrl-S holds up would keep the launcher from telling the agents of other
 * hosts that it lives, and they would end their ranks: so threads write there.
 * @param isDialogue a line is edited there, which needs the terminal in the order of writing and leaves Ctrl-S no meaning
 */
export function ownStreams({ isDialogue }: { readonly isDialogue: boolean }): Readonly<Record<StreamName, Writable>> {
  const { stdout, stderr } = process;
  const patient = (stream: typeof stdout | typeof stderr): Writable =>
    stream.isTTY && !isDialogue ? createWriteStream("", { fd: stream.fd, autoClose: false }) : stream;
  return { stdout: patient(stdout), stderr: patient(stderr) };
}
