/**
 * The header of one GGUF file: its metadata, and which tensors it holds where. Checked whole before anything believes it, since a
 * wrong offset would read another tensor's bytes; no tensor data is read here.
 * Layout: "GGUF", version, number of tensors, number of metadata entries, the entries, the tensors, padding, the data.
 * @see https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
 */
import { refuseDamaged } from "../damaged-file.ts";
import { ModelError } from "../../errors.ts";
import { Settings } from "../settings.ts";
import { ByteReader } from "./byte-reader.ts";
import { tensorLayout, tensorTypeName } from "./tensor-types.ts";

/** A tensor as it lies in a file. */
export interface GgufTensor {
  readonly name: string;
  readonly file: string;
  /** "F32", "Q4_1", ... */
  readonly type: string;
  /** Outermost axis first; the file says it the other way round. */
  readonly shape: readonly number[];
  /** Absolute byte offset in the file. */
  readonly offset: number;
}

export interface GgufHeader {
  readonly file: string;
  readonly metadata: Settings;
  readonly tensors: readonly GgufTensor[];
}

/** "GGUF", little-endian. */
const MAGIC = 0x46554747;
const VERSIONS = [2, 3];
const DEFAULT_ALIGNMENT = 32;
const MAX_NDIM = 4;

/** Value types by their numbers; 8 is a text and 9 an array. */
const TEXT = 8;
const ARRAY = 9;

/**
 * Reads and checks the header of a GGUF file.
 * @throws {ModelError} when the file is missing, no GGUF file, truncated, or its header lies
 */
export function readGgufHeader(file: string): GgufHeader {
  using reader = new ByteReader(file);
  checkMagic(reader);
  const numTensors = reader.uint64();
  const numEntries = reader.uint64();
  const metadata = new Settings(file, readMetadata(reader, numEntries));
  const tensors = readTensors(reader, numTensors, metadata);
  return { file, metadata, tensors };
}

function checkMagic(reader: ByteReader): void {
  const { file, fileBytes } = reader;
  if (fileBytes < 4 || reader.uint32() !== MAGIC) {
    throw new ModelError(
      `Reading "${file}" failed: it does not begin with "GGUF", so it is no GGUF file. Pass the directory of a checkpoint, or a GGUF file.`,
    );
  }
  const version = reader.uint32();
  // Another byte order moves the small number to the other end.
  if (version > 0xffff) {
    throw new ModelError(`Reading "${file}" failed: its numbers are big-endian. Convert it to little-endian.`);
  }
  if (!VERSIONS.includes(version)) {
    throw new ModelError(
      `Reading "${file}" failed: it is of GGUF version ${version}; supported are ${VERSIONS.join(" and ")}. Convert it again.`,
    );
  }
}

function readMetadata(reader: ByteReader, numEntries: number): Record<string, unknown> {
  // Without a prototype: a key is whatever the file says.
  const metadata = Object.create(null) as Record<string, unknown>;
  for (let entry = 0; entry < numEntries; entry++) {
    const key = reader.text();
    if (Object.hasOwn(metadata, key)) refuseDamaged(reader.file, `its metadata has the key "${key}" twice`);
    readEntry(reader, key, metadata);
  }
  return metadata;
}

function readEntry(reader: ByteReader, key: string, metadata: Record<string, unknown>): void {
  const type = reader.uint32();
  if (type !== ARRAY) {
    metadata[key] = readerOf(reader, type, key)();
    return;
  }
  const elementType = reader.uint32();
  const length = reader.uint64();
  if (elementType === TEXT) {
    const read = reader.texts(length);
    Object.defineProperty(metadata, key, { get: read, enumerable: true });
    return;
  }
  const read = readerOf(reader, elementType, key);
  const values: unknown[] = [];
  for (let index = 0; index < length; index++) values.push(read());
  metadata[key] = values;
}

function readerOf(reader: ByteReader, type: number, key: string): () => unknown {
  const { uint8, int8, uint16, int16, uint32, int32, float32, boolean, text, uint64, int64, float64 } = reader;
  const readers = [
    uint8,
    int8,
    uint16,
    int16,
    uint32,
    int32,
    float32,
    boolean,
    text,
    undefined,
    uint64,
    int64,
    float64,
  ];
  return (
    readers[type] ?? refuseDamaged(reader.file, `the value of "${key}" is of type ${type}, which GGUF does not have`)
  );
}

function readTensors(reader: ByteReader, numTensors: number, metadata: Settings): GgufTensor[] {
  const { file } = reader;
  const tensors: GgufTensor[] = [];
  const names = new Set<string>();
  for (let index = 0; index < numTensors; index++) {
    const name = reader.text();
    if (names.has(name)) refuseDamaged(file, `it has the tensor "${name}" twice`);
    names.add(name);
    const ndim = reader.uint32();
    if (ndim > MAX_NDIM) {
      refuseDamaged(file, `tensor "${name}" has ${ndim} axes, more than the ${MAX_NDIM} that a tensor can have`);
    }
    const shape = Array.from({ length: ndim }, reader.uint64).reverse();
    const type = tensorTypeName(reader.uint32());
    tensors.push({ name, file, type, shape, offset: reader.uint64() });
  }
  const alignment = metadata.integer("general.alignment", DEFAULT_ALIGNMENT);
  const dataOffset = Math.ceil(reader.position / alignment) * alignment;
  const placed = tensors.map((tensor) => ({ ...tensor, offset: dataOffset + tensor.offset }));
  checkPlaces(file, placed, reader.fileBytes, alignment);
  return placed;
}

/** Every tensor lies inside the file, at a multiple of the alignment, and over no other one. */
function checkPlaces(file: string, tensors: readonly GgufTensor[], fileBytes: number, alignment: number): void {
  let covered = 0;
  let last = "";
  for (const tensor of tensors.toSorted((a, b) => a.offset - b.offset)) {
    const { name, type, shape, offset } = tensor;
    if (!Number.isSafeInteger(offset) || offset % alignment !== 0) {
      refuseDamaged(file, `tensor "${name}" begins at byte ${offset}, which is no multiple of ${alignment}`);
    }
    if (offset < covered)
      refuseDamaged(file, `tensor "${name}" overlaps tensor "${last}" by ${covered - offset} bytes`);
    const numBytes = countBytes(file, tensor);
    if (offset + numBytes > fileBytes) {
      refuseDamaged(
        file,
        `tensor "${name}" [${shape.join(", ")}] ${type} ends at byte ${offset + numBytes}, but the file ends after ${fileBytes}`,
      );
    }
    covered = offset + numBytes;
    last = name;
  }
}

/** 0 for a type that cannot be read: it is refused when it is asked for. */
function countBytes(file: string, { name, type, shape }: GgufTensor): number {
  const layout = tensorLayout(type);
  if (layout === undefined) return 0;
  const rowLength = shape.at(-1) ?? 1;
  if (rowLength % layout.elements !== 0) {
    refuseDamaged(
      file,
      `tensor "${name}" [${shape.join(", ")}] has rows that are no multiple of the ${layout.elements} elements of a ${type} block`,
    );
  }
  return (shape.reduce((product, size) => product * size, 1) / layout.elements) * layout.bytes;
}
