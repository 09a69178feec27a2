/**
 * Reads a GGUF file's header value by value: bytes are fetched as they are needed, and no count in the file is believed before
 * it has been compared with what the file holds. Numbers are little-endian, texts have their length in 8 bytes before them.
 */
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { ModelError } from "../../errors.ts";
import { refuseDamaged } from "../damaged-file.ts";

const FIRST_READ_BYTES = 1 << 20;
/** Several times the header with the largest vocabulary (some 12 MB); what is larger is no header. */
const MAX_HEADER_BYTES = 64 * 1024 * 1024;

export class ByteReader implements Disposable {
  readonly file: string;
  readonly fileBytes: number;
  readonly #descriptor: number;
  #bytes = Buffer.alloc(0);
  #position = 0;

  /** @throws {ModelError} when there is no such file */
  constructor(file: string) {
    this.file = file;
    try {
      this.#descriptor = openSync(file, "r");
    } catch (cause) {
      throw new ModelError(`Reading "${file}" failed: ${(cause as Error).message}. Check the path of the model.`, {
        cause,
      });
    }
    this.fileBytes = fstatSync(this.#descriptor).size;
  }

  get position(): number {
    return this.#position;
  }

  uint8 = (): number => this.#read(1, (bytes, at) => bytes.readUInt8(at));
  int8 = (): number => this.#read(1, (bytes, at) => bytes.readInt8(at));
  uint16 = (): number => this.#read(2, (bytes, at) => bytes.readUInt16LE(at));
  int16 = (): number => this.#read(2, (bytes, at) => bytes.readInt16LE(at));
  uint32 = (): number => this.#read(4, (bytes, at) => bytes.readUInt32LE(at));
  int32 = (): number => this.#read(4, (bytes, at) => bytes.readInt32LE(at));
  float32 = (): number => this.#read(4, (bytes, at) => bytes.readFloatLE(at));
  float64 = (): number => this.#read(8, (bytes, at) => bytes.readDoubleLE(at));
  /** Above 2**53 only nearly right; whoever needs a count finds that it is no safe integer. */
  uint64 = (): number => Number(this.#read(8, (bytes, at) => bytes.readBigUInt64LE(at)));
  int64 = (): number => Number(this.#read(8, (bytes, at) => bytes.readBigInt64LE(at)));
  boolean = (): boolean => this.uint8() !== 0;
  text = (): string => {
    const length = this.uint64();
    const begin = this.#take(length);
    return this.#bytes.toString("utf8", begin, begin + length);
  };

  /** A list of texts, checked now and made when it is asked for: a vocabulary has some 100000, and most ranks never see text. */
  texts(count: number): () => string[] {
    const begin = this.#position;
    for (let index = 0; index < count; index++) this.#take(this.uint64());
    return () => {
      let at = begin;
      return Array.from({ length: count }, () => {
        const end = at + 8 + Number(this.#bytes.readBigUInt64LE(at));
        const text = this.#bytes.toString("utf8", at + 8, end);
        at = end;
        return text;
      });
    };
  }

  [Symbol.dispose](): void {
    closeSync(this.#descriptor);
  }

  #read<Value>(numBytes: number, read: (bytes: Buffer, at: number) => Value): Value {
    const at = this.#take(numBytes);
    return read(this.#bytes, at);
  }

  /** Moves on by `count` bytes, which the file must have; returns where they begin. */
  #take(count: number): number {
    const begin = this.#position;
    const end = begin + count;
    if (end > this.#bytes.length) this.#fetch(end);
    this.#position = end;
    return begin;
  }

  #fetch(end: number): void {
    if (end > this.fileBytes) {
      refuseDamaged(this.file, `its header goes on to byte ${end}, but the file ends after ${this.fileBytes}`);
    }
    if (end > MAX_HEADER_BYTES) {
      refuseDamaged(this.file, `its header has more than the ${MAX_HEADER_BYTES} bytes that are read`);
    }
    const held = this.#bytes.length;
    const wanted = Math.min(this.fileBytes, Math.max(end, 2 * held, FIRST_READ_BYTES));
    const grown = Buffer.alloc(wanted);
    this.#bytes.copy(grown);
    let done = held;
    while (done < wanted) {
      const numRead = readSync(this.#descriptor, grown, done, wanted - done, done);
      if (numRead === 0) break;
      done += numRead;
    }
    this.#bytes = grown;
  }
}
