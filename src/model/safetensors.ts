/**
 * The header of one safetensors file: which tensors it holds, and where their bytes lie.
 * The header is checked whole before anything believes it, since a wrong offset would read another tensor's bytes. No tensor data is read here.
 * Layout: 8 bytes little-endian header length, the header (JSON), the data.
 * @see https://github.com/huggingface/safetensors#format
 */
import { open, type FileHandle } from "node:fs/promises";
import { ModelError } from "../errors.ts";
import { refuseDamaged } from "./damaged-file.ts";
import { isJsonObject, parseJsonObject, quoteJson } from "./settings.ts";

/** A tensor as it lies in a file. */
export interface StoredTensor {
  readonly name: string;
  readonly file: string;
  /** The format's own word: "F32", "BF16", ... */
  readonly dtype: string;
  readonly shape: readonly number[];
  /** Absolute byte offset in the file. */
  readonly offset: number;
  readonly numBytes: number;
}

const LENGTH_BYTES = 8;
/** The format's own limit. */
const MAX_HEADER_BYTES = 100_000_000;
/** What PyTorch allows; a product of unlimited sizes would take minutes. */
const MAX_NDIM = 64;

/** Bytes of one element of every type of the format that fills whole bytes. */
const ELEMENT_BYTES: ReadonlyMap<string, number> = new Map(
  Object.entries({
    BOOL: 1,
    U8: 1,
    I8: 1,
    F8_E4M3: 1,
    F8_E5M2: 1,
    I16: 2,
    U16: 2,
    F16: 2,
    BF16: 2,
    I32: 4,
    U32: 4,
    F32: 4,
    I64: 8,
    U64: 8,
    F64: 8,
  }),
);

/**
 * Reads and checks the header of a safetensors file.
 * @throws {ModelError} when the file is missing, truncated, or its header lies.
 */
export async function readSafetensorsHeader(file: string): Promise<Map<string, StoredTensor>> {
  let handle: FileHandle;
  try {
    handle = await open(file, "r");
  } catch (cause) {
    throw new ModelError(`Reading "${file}" failed: ${(cause as Error).message}.`, { cause });
  }
  try {
    const status = await handle.stat();
    if (!status.isFile()) throw new ModelError(`Reading "${file}" failed: it is not a file.`);
    const { size } = status;
    const header = await readHeaderBytes(file, handle, size);
    return parseHeader(file, header, LENGTH_BYTES + header.length, size);
  } finally {
    await handle.close();
  }
}

async function readHeaderBytes(file: string, handle: FileHandle, fileBytes: number): Promise<Buffer> {
  if (fileBytes < LENGTH_BYTES) {
    refuseDamaged(file, `it has ${fileBytes} bytes, fewer than the ${LENGTH_BYTES} of the header's length`);
  }
  const length = (await readBytes(handle, 0, LENGTH_BYTES)).readBigUInt64LE();
  if (length > MAX_HEADER_BYTES) {
    refuseDamaged(file, `its header claims ${length} bytes, more than the ${MAX_HEADER_BYTES} that the format allows`);
  }
  if (LENGTH_BYTES + Number(length) > fileBytes) {
    refuseDamaged(file, `its header claims ${length} bytes, but the file ends after ${fileBytes}`);
  }
  return readBytes(handle, LENGTH_BYTES, Number(length));
}

async function readBytes(handle: FileHandle, offset: number, numBytes: number): Promise<Buffer> {
  const bytes = Buffer.alloc(numBytes);
  for (let done = 0; done < numBytes;) {
    const { bytesRead } = await handle.read(bytes, done, numBytes - done, offset + done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return bytes;
}

function parseHeader(file: string, header: Buffer, dataOffset: number, fileBytes: number): Map<string, StoredTensor> {
  const text = header.toString("utf8");
  const entries = Object.entries(parseJsonObject(file, text));
  const duplicate = findDuplicateKey(text);
  if (duplicate !== undefined) refuseDamaged(file, `its header names tensor "${duplicate}" twice`);

  const tensors = new Map<string, StoredTensor>();
  for (const [name, entry] of entries) {
    if (name !== "__metadata__") tensors.set(name, parseEntry(file, name, entry, dataOffset, fileBytes));
  }
  checkCoverage(file, [...tensors.values()], dataOffset, fileBytes);
  return tensors;
}

function parseEntry(file: string, name: string, entry: unknown, dataOffset: number, fileBytes: number): StoredTensor {
  const bad = (what: string): never => refuseDamaged(file, `tensor "${name}" ${what}`);
  if (!isJsonObject(entry)) return bad("has no description");
  const { dtype, shape, data_offsets: offsets } = entry;

  const elementBytes = typeof dtype === "string" ? ELEMENT_BYTES.get(dtype) : undefined;
  if (typeof dtype !== "string" || elementBytes === undefined) return bad(`has an unknown dtype ${quoteJson(dtype)}`);
  if (!isListOfSizes(shape)) {
    return bad(`has a shape that is not a list of sizes: ${quoteJson(shape)}`);
  }
  if (shape.length > MAX_NDIM) return bad(`has ${shape.length} axes, more than the ${MAX_NDIM} that a tensor can have`);
  if (!isListOfSizes(offsets) || offsets.length !== 2) {
    return bad(`has data_offsets that are not two byte offsets: ${quoteJson(offsets)}`);
  }
  const [begin, end] = offsets as [number, number];
  if (begin > end) return bad(`begins at byte ${begin} and ends before it, at byte ${end}`);
  const dataBytes = fileBytes - dataOffset;
  if (end > dataBytes) return bad(`ends at byte ${end} of the data, but the file holds ${dataBytes} bytes of data`);

  const wanted = shape.reduce((product, size) => product * BigInt(size), BigInt(elementBytes));
  if (wanted !== BigInt(end - begin)) {
    return bad(`[${shape.join(", ")}] ${dtype} needs ${wanted} bytes, but its data_offsets hold ${end - begin}`);
  }
  return { name, file, dtype, shape, offset: dataOffset + begin, numBytes: end - begin };
}

function isListOfSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && size >= 0);
}

/** The format allows neither overlaps nor holes: every byte of the data belongs to one tensor. */
function checkCoverage(file: string, tensors: StoredTensor[], dataOffset: number, fileBytes: number): void {
  tensors.sort((a, b) => a.offset - b.offset || a.numBytes - b.numBytes);
  let covered = dataOffset;
  let last = "the header";
  for (const { name, offset, numBytes } of tensors) {
    if (offset < covered) refuseDamaged(file, `tensor "${name}" overlaps ${last} by ${covered - offset} bytes`);
    if (offset > covered)
      refuseDamaged(file, `${offset - covered} bytes between ${last} and tensor "${name}" belong to no tensor`);
    covered = offset + numBytes;
    last = `tensor "${name}"`;
  }
  if (covered < fileBytes) refuseDamaged(file, `${fileBytes - covered} bytes after ${last} belong to no tensor`);
}

/** The first key that the outermost object of valid JSON text has twice (JSON.parse silently keeps the last). */
function findDuplicateKey(text: string): string | undefined {
  const seen = new Set<string>();
  let depth = 0;
  let stringStart: number | undefined;
  // Token by token: an expression that matches whole strings runs out of stack on one of some megabytes.
  for (const { 0: token, index } of text.matchAll(/\\.|["{}[\]]/gs)) {
    if (token === '"' && stringStart === undefined) stringStart = index;
    else if (token === '"') {
      if (depth === 1 && isFollowedByColon(text, index + 1)) {
        const key = JSON.parse(text.slice(stringStart, index + 1)) as string;
        if (seen.has(key)) return key;
        seen.add(key);
      }
      stringStart = undefined;
    } else if (stringStart === undefined) depth += token === "{" || token === "[" ? 1 : -1;
  }
  return undefined;
}

function isFollowedByColon(text: string, offset: number): boolean {
  const colon = /\s*:/y;
  colon.lastIndex = offset;
  return colon.test(text);
}
