/**
 * Writes a graph as an ONNX file that other tools open (Netron, the onnx package, onnxruntime). Weights that lie in a file at or below
 * the new file's directory, just as the graph sees them, are referred to there; the others are written to a second file, F.onnx.data,
 * since ONNX lets a model point at nothing outside its own directory.
 */
import { lstatSync } from "node:fs";
import { open, writeFile, type FileHandle } from "node:fs/promises";
import { basename, dirname, isAbsolute, relative, resolve, sep } from "node:path";
import type { Graph, Weight } from "./graph.ts";
import { encodeModel, isEmbedded, type ExternalBytes } from "./onnx-format.ts";
import { countWeightBytes } from "./packed-layout.ts";

/** Readers may map the second file, so weights begin at multiples of this. */
const ALIGNMENT_BYTES = 64;

/**
 * Writes `file`, and `file`.data where needed.
 * @param materialise makes the bytes of one weight
 */
export async function writeOnnxFile(
  graph: Graph,
  file: string,
  materialise: (weight: Weight) => Uint8Array,
): Promise<void> {
  const directory = dirname(resolve(file));
  const places = new Map<string, ExternalBytes>();
  const copied: Weight[] = [];
  let end = 0;
  for (const weight of graph.weights.values()) {
    if (isEmbedded(weight)) continue;
    const inPlace = findInPlace(weight, directory);
    places.set(weight.name, inPlace ?? { location: `${basename(file)}.data`, offset: end });
    if (inPlace !== undefined) continue;
    copied.push(weight);
    end = Math.ceil((end + countWeightBytes(weight)) / ALIGNMENT_BYTES) * ALIGNMENT_BYTES;
  }

  await writeFile(
    file,
    encodeModel(graph, ({ name }) => places.get(name)!),
  );
  if (copied.length === 0) return;
  await using data = await open(`${file}.data`, "w");
  for (const weight of copied) {
    await writeAll(data, materialise(weight), places.get(weight.name)!.offset);
  }
}

/** One write takes no more than 2 GiB. */
async function writeAll(file: FileHandle, bytes: Uint8Array, offset: number): Promise<void> {
  for (let done = 0; done < bytes.byteLength;) {
    const { bytesWritten } = await file.write(bytes, done, Math.min(bytes.byteLength - done, 2 ** 30), offset + done);
    done += bytesWritten;
  }
}

/** Where a weight's bytes already lie below the directory, or undefined; readers refuse a file that is a symbolic link. */
function findInPlace({ source, dataType }: Weight, directory: string): ExternalBytes | undefined {
  if (source.kind !== "file" || source.dataType !== dataType || source.plus) return undefined;
  const location = relative(directory, source.file);
  const isOutside = isAbsolute(location) || location.split(sep)[0] === "..";
  return isOutside || lstatSync(source.file).isSymbolicLink()
    ? undefined
    : { location: location.split(sep).join("/"), offset: source.offset };
}
