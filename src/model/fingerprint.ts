/**
 * What tells two copies of a checkpoint apart without reading all of it, for ranks that load it from different disks: of each
 * file its size, its beginning (all of config.json, the header of the weights) and samples of the rest. Another model and another
 * training of the same model are found; single damaged bytes are not.
 */
import { createHash } from "node:crypto";
import { open } from "node:fs/promises";
import { basename } from "node:path";

/** One file of a checkpoint, compared by both. */
export interface FileFingerprint {
  readonly name: string;
  /** Hexadecimal, of a SHA-256. */
  readonly digest: string;
}

const HEAD_BYTES = 1 << 20;
const NUM_SAMPLES = 16;
const SAMPLE_BYTES = 4096;
const DIGEST_DIGITS = 16;

/** Reads at most 1.1 MB of each file. */
export function fingerprintFiles(files: readonly string[]): Promise<FileFingerprint[]> {
  return Promise.all(files.map(async (file) => ({ name: basename(file), digest: await digestFile(file) })));
}

async function digestFile(file: string): Promise<string> {
  const handle = await open(file, "r");
  try {
    const { size } = await handle.stat();
    const hash = createHash("sha256").update(`${size} `);
    const buffer = Buffer.alloc(HEAD_BYTES);
    const add = async (position: number, length: number) => {
      const { bytesRead } = await handle.read(buffer, 0, length, position);
      hash.update(buffer.subarray(0, bytesRead));
    };
    await add(0, HEAD_BYTES);
    for (let sample = 1; sample <= NUM_SAMPLES && size > HEAD_BYTES; sample++) {
      await add(Math.floor((size * sample) / (NUM_SAMPLES + 1)), SAMPLE_BYTES);
    }
    return hash.digest("hex").slice(0, DIGEST_DIGITS);
  } finally {
    await handle.close();
  }
}
