/**
 * `shardrun bench --collectives`: how long the ranks of this world take to allReduce, and to pass a message, over the transport
 * that they use. The launching process starts one world per transport; in each of them rank 0 prints a table or a line of JSON.
 */
import { shareWorld } from "../api/world.ts";
import { readEnvironment } from "../environment.ts";
import type { MeasuredWork } from "../collective/native.ts";
import type { Engine } from "../engine/engine.ts";
import { UsageError } from "../errors.ts";
import type { MeasuredCollectives } from "../execute/rank.ts";
import type { LaunchOptions } from "../launch/options.ts";
import { readText, type ProgramArguments } from "./options.ts";

const KIBIBYTE = 1024;
/** Bytes: from what a token's choice takes to more than any step hands over at once. */
const STANDARD_SIZES = "4,1024,4096,16384,65536,262144,1048576,4194304,16777216,67108864";
/** Each size is measured for about so long. */
const MEASURED_NANOSECONDS = 200e6;
const MOST_CALLS = 5000;

interface MeasuredSize extends MeasuredCollectives {
  readonly bytes: number;
}

/** One world per transport that the ranks could use; what SHARDRUN_COLLECTIVES says is the only one. */
export function chooseCollectiveWorlds({ hostfile, hostLists }: LaunchOptions): readonly string[] {
  const { collectives } = readEnvironment();
  const isSpread = hostfile !== undefined || hostLists.length > 0;
  const all = isSpread ? ["auto", "grpc"] : ["shm", "tcp", "grpc"];
  return (collectives === "auto" ? all : [collectives]).map((transport) => `SHARDRUN_COLLECTIVES=${transport}`);
}

/**
 * Measures all sizes and prints them; on rank 0, which the others follow.
 * @throws {UsageError} in a world of one
 */
export async function benchCollectives(options: ProgramArguments): Promise<number> {
  const world = shareWorld();
  if (world === undefined) {
    throw new UsageError("--collectives measures what goes on between ranks: start at least two, with -np 2.");
  }
  const { worldSize } = world.engine.settings.identity;
  const sizes: MeasuredSize[] = [];
  for (const bytes of readMessageSizes(options)) {
    sizes.push({ bytes, ...(await measureSize(world.engine, bytes)) });
  }
  const { transport } = sizes[0]!;
  const rows = sizes.map(({ bytes, allReduceNanoseconds, halfRoundTripNanoseconds }) => ({
    bytes,
    allReduceMicroseconds: allReduceNanoseconds / 1e3,
    allReduceBytesPerSecond: bytes / (allReduceNanoseconds / 1e9),
    halfRoundTripMicroseconds: halfRoundTripNanoseconds / 1e3,
    halfRoundTripBytesPerSecond: bytes / (halfRoundTripNanoseconds / 1e9),
  }));
  if (options["json"] === true) {
    console.log(JSON.stringify({ transport, numRanks: worldSize, sizes: rows }));
    return 0;
  }
  console.log(
    `${transport}, ${worldSize} ranks: allReduce of float32, and a message from the first rank to the last\n`,
  );
  console.log("      bytes  allReduce us       MB/s  message us       MB/s");
  for (const row of rows) {
    const cells = [
      describeBytes(row.bytes).padStart(11),
      describeNumber(row.allReduceMicroseconds).padStart(14),
      describeNumber(row.allReduceBytesPerSecond / 1e6).padStart(11),
      describeNumber(row.halfRoundTripMicroseconds).padStart(12),
      describeNumber(row.halfRoundTripBytesPerSecond / 1e6).padStart(11),
    ];
    console.log(cells.join(""));
  }
  console.log("");
  return 0;
}

/** What the ranks' collectives take with messages of `numBytes`, and the work before each of them. */
export async function measureSize(
  engine: Engine,
  numBytes: number,
  work: MeasuredWork = { nanoseconds: 0, numRanks: 0 },
): Promise<MeasuredCollectives> {
  const measure = (numCalls: number): Promise<MeasuredCollectives> =>
    engine.request({ kind: "measure", calls: { numBytes, numCalls, ...work } });
  const warmUp = await measure(2);
  const longer = Math.max(warmUp.allReduceNanoseconds, warmUp.halfRoundTripNanoseconds);
  return measure(Math.ceil(Math.min(MOST_CALLS, MEASURED_NANOSECONDS / longer)));
}

/** @throws {UsageError} for a size that is none */
export function readMessageSizes(options: ProgramArguments): number[] {
  const text = readText(options, "sizes") ?? STANDARD_SIZES;
  return text.split(",").map((word) => {
    const bytes = Number(word);
    if (Number.isSafeInteger(bytes) && bytes >= 4 && bytes % 4 === 0) return bytes;
    throw new UsageError(`--sizes expects bytes, in multiples of 4 and separated by commas, received "${text}".`);
  });
}

function describeBytes(bytes: number): string {
  if (bytes < KIBIBYTE) return `${bytes} B`;
  return bytes < KIBIBYTE ** 2 ? `${bytes / KIBIBYTE} KiB` : `${bytes / KIBIBYTE ** 2} MiB`;
}

/** Three digits that count. */
function describeNumber(value: number): string {
  return value < 100 ? value.toPrecision(3) : value.toFixed(0);
}
