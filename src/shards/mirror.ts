/**
 * A sparse copy of a model's files, on a host that has none of its own: every file has its size, and every byte that is there is
 * at its place, so that whoever maps ranges of it notices no difference. The journal beside the files says which bytes these are.
 * One process writes it at a time; readers come when it has been sealed.
 */
import { closeSync, constants, fstatSync, ftruncateSync, futimesSync, openSync, readSync, writeSync } from "node:fs";
import { join } from "node:path";
import { joinRanges, subtractRanges, type ByteRange } from "./byte-ranges.ts";
import { digestOf, type Chunk } from "./chunks.ts";
import { JournalWriter, readJournal, replaceJournal, type PresentChunk } from "./journal.ts";
import { checkFileName, type Offer } from "./offer.ts";

const JOURNAL_FILE = "journal";
/** Chunks of a sealed mirror that are read again all the same. */
const NUM_SAMPLES = 16;

export class Mirror {
  readonly directory: string;
  readonly offer: Offer;
  readonly #descriptors: readonly number[];
  readonly #journal: JournalWriter;
  /** Of each file, in no order. */
  readonly #present: ByteRange[][];
  #isSealed: boolean;

  /**
   * Opens the mirror of an offer in this directory, or begins it. Bytes that are not what the journal says are missing again.
   * @throws errors of the system when it cannot be written
   */
  constructor(directory: string, offer: Offer) {
    this.directory = directory;
    this.offer = offer;
    const flags = constants.O_RDWR | constants.O_CREAT;
    this.#descriptors = offer.files.map(({ name }) => openSync(join(directory, checkFileName(name)), flags, 0o600));
    const { chunks, isSealed } = this.#readJournal();
    this.#isSealed = isSealed;
    this.#journal = new JournalWriter(join(directory, JOURNAL_FILE));
    this.#present = offer.files.map((_, file) =>
      chunks.filter((chunk) => chunk.file === file).flatMap(({ ranges }) => ranges),
    );
    offer.files.forEach(({ bytes }, file) => this.#setSize(file, bytes));
  }

  /** Of the wanted ranges of each file, those that are not here. */
  missing(wanted: readonly (readonly ByteRange[])[]): ByteRange[][] {
    return wanted.map((ranges, file) => subtractRanges(ranges, joinRanges(this.#present[file]!)));
  }

  /** Puts a chunk in its place, then notes it. */
  write(chunk: Chunk, data: Uint8Array, digest: Buffer): void {
    let done = 0;
    for (const { begin, end } of chunk.ranges) {
      for (let from = begin; from < end;) {
        const count = writeSync(this.#descriptors[chunk.file]!, data, done, end - from, from);
        done += count;
        from += count;
      }
    }
    this.#journal.add({ ...chunk, digest: digest.toString("hex") });
    this.#isSealed = false;
    this.#present[chunk.file]!.push(...chunk.ranges);
  }

  /**
   * Says that what the journal names is there, as long as nobody touches the files. These bear the times of rank 0's, so that
   * what is made of them is known again when more of them has come.
   */
  seal(): void {
    if (this.#isSealed) return;
    this.offer.files.forEach(({ modifiedNs }, file) => {
      const seconds = Number(modifiedNs) / 1e9;
      futimesSync(this.#descriptors[file]!, seconds, seconds);
    });
    this.#journal.seal(this.#describeState());
    this.#isSealed = true;
  }

  close(): void {
    this.#journal.close();
    this.#descriptors.forEach(closeSync);
  }

  /** The chunks that are there. Under a seal some are looked at; without one, or after a touch, all. */
  #readJournal(): { chunks: readonly PresentChunk[]; isSealed: boolean } {
    const path = join(this.directory, JOURNAL_FILE);
    const { chunks, seal } = readJournal(path);
    if (seal === this.#describeState()) {
      const step = Math.max(1, Math.ceil(chunks.length / NUM_SAMPLES));
      const samples = chunks.filter((_, index) => index % step === 0);
      if (samples.every((chunk) => this.#isIntact(chunk))) return { chunks, isSealed: true };
    }
    const intact = chunks.filter((chunk) => this.#isIntact(chunk));
    replaceJournal(path, intact);
    return { chunks: intact, isSealed: false };
  }

  #isIntact({ file, ranges, bytes, digest }: PresentChunk): boolean {
    const descriptor = this.#descriptors[file];
    if (descriptor === undefined) return false;
    const data = new Uint8Array(bytes);
    let done = 0;
    for (const { begin, end } of ranges) done += readSync(descriptor, data, done, end - begin, begin);
    return digestOf(data).toString("hex") === digest;
  }

  #setSize(file: number, bytes: number): void {
    const descriptor = this.#descriptors[file]!;
    if (fstatSync(descriptor).size !== bytes) ftruncateSync(descriptor, bytes);
  }

  /** Every write moves the times of change, and nobody can set them back. */
  #describeState(): string {
    return this.#descriptors.map((descriptor) => String(fstatSync(descriptor, { bigint: true }).ctimeNs)).join(" ");
  }
}
