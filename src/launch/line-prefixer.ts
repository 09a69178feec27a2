/**
 * Puts a prefix before every line of one stream, whatever the size of its chunks: --tag-output and --timestamp-output.
 */

const NEWLINE = 0x0a;

export class LinePrefixer {
  readonly #prefix: () => string;
  #isAtLineStart = true;

  /** @param prefix called at the start of every line, so that it may hold the time */
  constructor(prefix: () => string) {
    this.#prefix = prefix;
  }

  /** The chunk with a prefix before each line that starts in it. */
  apply(chunk: Buffer): Buffer {
    const parts: Buffer[] = [];
    for (let start = 0; start < chunk.length;) {
      if (this.#isAtLineStart) parts.push(Buffer.from(this.#prefix()));
      const newline = chunk.indexOf(NEWLINE, start);
      const end = newline < 0 ? chunk.length : newline + 1;
      parts.push(chunk.subarray(start, end));
      this.#isAtLineStart = newline >= 0;
      start = end;
    }
    return Buffer.concat(parts);
  }
}
