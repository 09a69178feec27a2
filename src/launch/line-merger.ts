/**
 * Merges the output of many ranks into one stream without tearing lines. Bytes come in per source, in chunks of any
 * size; whole lines go out as soon as they are there.
 *
 * A line that is not finished is held back for a moment, so that lines of several ranks do not mix. If it stays
 * unfinished (a prompt, a text streamed word by word), its source gets the floor: what it writes goes out at once, and
 * the others wait until it ends the line. Should it fall silent for a second while others wait, its line is broken.
 * Nothing is ever dropped, and but for such a break no byte is added.
 */

/** How long an unfinished line is held back before its source gets the floor. */
const UNFINISHED_MS = 20;
/** How long the source that has the floor may be silent while others wait. */
const SILENT_MS = 1000;
/** A longer unfinished line gets the floor at once, to bound memory. */
const LONG_LINE_BYTES = 64 * 1024;
/** What all sources together may hold back. */
const MAX_HELD_BYTES = 64 * 1024 * 1024;

const NEWLINE = 0x0a;

interface Source {
  /** Bytes that have come in and not gone out. */
  held: Buffer[];
  heldBytes: number;
  /** Of these, the bytes up to the last newline. */
  lineBytes: number;
  hasEnded: boolean;
}

export class LineMerger {
  readonly #write: (bytes: Buffer) => void;
  readonly #sources = new Map<number, Source>();
  /** The source that has the floor: the last byte that went out is its, and not a newline. */
  #speaker: Source | undefined;
  #isMidLine = false;
  #heldBytes = 0;
  #unfinishedTimer: NodeJS.Timeout | undefined;
  #silentTimer: NodeJS.Timeout | undefined;

  constructor(write: (bytes: Buffer) => void) {
    this.#write = write;
  }

  /** Takes a chunk of a source's output. */
  push(id: number, chunk: Buffer): void {
    const source = this.#source(id);
    const newline = chunk.lastIndexOf(NEWLINE);
    if (newline >= 0) source.lineBytes = source.heldBytes + newline + 1;
    source.held.push(chunk);
    source.heldBytes += chunk.length;
    this.#heldBytes += chunk.length;
    this.#release(source);
  }

  /** The source writes no more; its last line goes out even without a newline. */
  end(id: number): void {
    const source = this.#source(id);
    source.hasEnded = true;
    this.#release(source);
  }

  /** Lets out all that is held. */
  flush(): void {
    this.#giveUpFloor();
    for (const source of this.#sources.values()) this.#emit(source, source.heldBytes);
    clearTimeout(this.#unfinishedTimer);
    clearTimeout(this.#silentTimer);
  }

  #source(id: number): Source {
    let source = this.#sources.get(id);
    if (source === undefined) {
      source = { held: [], heldBytes: 0, lineBytes: 0, hasEnded: false };
      this.#sources.set(id, source);
    }
    return source;
  }

  #release(source: Source): void {
    if (this.#speaker === source) {
      const endsLine = source.lineBytes > 0 || source.hasEnded;
      this.#emit(source, source.hasEnded || !endsLine ? source.heldBytes : source.lineBytes);
      if (endsLine) this.#giveUpFloor();
      else this.#silentTimer?.refresh();
    } else if (this.#speaker === undefined) {
      this.#emitReady(source);
    } else if (this.#heldBytes > MAX_HELD_BYTES) {
      this.#giveUpFloor();
    } else {
      this.#silentTimer ??= setTimeout(() => this.#giveUpFloor(), SILENT_MS);
    }
  }

  /** While nobody has the floor: whole lines, and the rest where it can wait no longer. */
  #emitReady(source: Source): void {
    this.#emit(source, source.hasEnded ? source.heldBytes : source.lineBytes);
    if (source.heldBytes > LONG_LINE_BYTES) this.#takeFloor(source);
    else if (source.heldBytes > 0) this.#unfinishedTimer ??= setTimeout(() => this.#favourUnfinished(), UNFINISHED_MS);
  }

  #favourUnfinished(): void {
    this.#unfinishedTimer = undefined;
    const unfinished = [...this.#sources.values()].find((source) => source.heldBytes > 0);
    if (this.#speaker === undefined && unfinished !== undefined) this.#takeFloor(unfinished);
  }

  #takeFloor(source: Source): void {
    this.#emit(source, source.heldBytes);
    this.#speaker = source;
  }

  #giveUpFloor(): void {
    this.#speaker = undefined;
    clearTimeout(this.#silentTimer);
    this.#silentTimer = undefined;
    for (const source of this.#sources.values()) {
      if (this.#speaker === undefined && source.heldBytes > 0) this.#emitReady(source);
    }
  }

  #emit(source: Source, numBytes: number): void {
    if (numBytes === 0) return;
    const held = source.held.length === 1 ? source.held[0]! : Buffer.concat(source.held);
    const out = held.subarray(0, numBytes);
    const rest = held.subarray(numBytes);
    // An unfinished line of another source is on the screen: end it first.
    if (this.#isMidLine && this.#speaker !== source) this.#write(Buffer.from("\n"));
    this.#write(out);
    this.#isMidLine = out[out.length - 1] !== NEWLINE;
    source.held = rest.length === 0 ? [] : [rest];
    source.heldBytes = rest.length;
    source.lineBytes = 0;
    this.#heldBytes -= out.length;
  }
}
