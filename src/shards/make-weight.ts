/** The bytes of any weight: packed, or as its source describes them. A file of its own because both who keeps and who hands out weights need them. */
import type { Weight } from "../model/graph.ts";
import { isPacked, packWeight } from "./packed-weight.ts";
import { materialiseWeight, type MapFile } from "./weight.ts";

/**
 * Makes, or maps, the bytes that a session reads.
 * @throws {ModelError} when a file has gone or changed since its header was read; names file and weight
 */
export function makeWeight(weight: Weight, mapFile: MapFile): Uint8Array {
  return isPacked(weight) ? packWeight(weight, mapFile) : materialiseWeight(weight, mapFile).data;
}
