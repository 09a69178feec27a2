/**
 * The boundary to native/: the only file that loads the addon, and the types of all that it exports.
 * Arguments are validated by the callers in TypeScript; errors arrive as the classes of errors.ts.
 */
import { createRequire } from "node:module";
import { CollectiveError, ExecutionError, InternalError, UsageError } from "../errors.ts";

/** Element types that travel in collectives. */
export type WireDataType = "float32" | "float16" | "bfloat16" | "int32" | "int64" | "uint8";
export type ReduceOp = "sum" | "max";
/** "grpc": through the addresses of a gRPC bridge, which must then be those of `peers`. */
export type TransportKind = "auto" | "shm" | "tcp" | "grpc";

export interface CallOptions {
  /** What is being exchanged, for errors ("layers.3.o_proj"). */
  readonly label?: string;
  /** Milliseconds; 0: no deadline (abort and loss of a peer still end it); left out: the communicator's default. */
  readonly timeoutMs?: number;
}

/** Accepts the connections of this process's peers, for any number of communicators. */
export interface Listener {
  /** What peers need to reach this process, "unix=NAME;tcp=HOST:PORT"; for native/transport and the gRPC bridge alone. */
  readonly address: string;
  /** Aborts every communicator that has been, or will be, connected through it. From any thread. */
  abort(message: string, peer: number): void;
  close(): void;
}

export interface ListenOptions {
  /** Tells apart the runs of one host; part of the abstract unix socket's name. */
  readonly runId: string;
  readonly rank: number;
  /** The address that TCP listens on; "127.0.0.1" unless another host takes part. */
  readonly tcpHost: string;
  /** Every connection proves this before anything else is read from it. */
  readonly secret: Uint8Array;
  /** Told, once, who was the first to be turned away because it did not. */
  readonly onFirstStranger?: (stranger: string) => void;
}

export interface PeerAddress {
  readonly rank: number;
  /** For error messages, and to know who shares this host's memory. */
  readonly host: string;
  readonly address: string;
}

export interface ConnectOptions {
  /** The same number on every rank of the group; distinguishes communicators. */
  readonly id: number;
  readonly epoch: number;
  readonly rank: number;
  readonly worldSize: number;
  /** One per rank, this one included, in rank order. */
  readonly peers: readonly PeerAddress[];
  readonly transport: TransportKind;
  /** Default deadline of every call, milliseconds. */
  readonly timeoutMs: number;
}

/** What ranks compute before each allReduce that is measured. */
export interface MeasuredWork {
  readonly nanoseconds: number;
  /** The first so many ranks. */
  readonly numRanks: number;
}

export interface MeasuredCalls extends MeasuredWork {
  readonly numBytes: number;
  readonly numCalls: number;
}

export interface CollectiveTimes {
  /** Of one allReduce of float32, and of the work before it. */
  readonly allReduceNanoseconds: number;
  /** Of a message from the first rank to the last; known to these two. */
  readonly halfRoundTripNanoseconds: number;
}

export interface CommunicatorStatistics {
  readonly calls: number;
  readonly bytes: number;
  readonly nanoseconds: number;
}

/**
 * A group of ranks with one thread of its own on which its collectives, and the sessions bound to it, run in the order of the calls.
 * TypedArrays handed in must not be touched until the promise settles.
 * Every promise rejects with CollectiveError when a peer is lost, the deadline passes or the communicator is aborted.
 */
export interface Communicator {
  readonly rank: number;
  readonly worldSize: number;
  /** "local" for a world of one, else the transport in use: "shm", "tcp", "grpc", or "shm+tcp": shared memory inside each host, TCP between hosts. */
  readonly transport: string;
  /**
   * data: [count] of dataType, in place. Every rank gets the same bits: sums are taken in rank order. Over "shm+tcp", more than 16 KiB
   * are summed host by host, and inside each host in rank order: there float sums depend on which rank is on which host.
   */
  allReduce(data: Uint8Array, dataType: WireDataType, op: ReduceOp, options?: CallOptions): Promise<void>;
  /** output: the ranks' inputs one after the other; bytesPerRank may differ and be 0. */
  allGather(
    input: Uint8Array,
    output: Uint8Array,
    bytesPerRank: readonly number[],
    options?: CallOptions,
  ): Promise<void>;
  /** input: sum of counts elements; output: counts[rank] elements. */
  reduceScatter(
    input: Uint8Array,
    output: Uint8Array,
    counts: readonly number[],
    dataType: WireDataType,
    op: ReduceOp,
    options?: CallOptions,
  ): Promise<void>;
  broadcast(data: Uint8Array, root: number, options?: CallOptions): Promise<void>;
  /** Sends `message` from root; resolves to it on every rank. Receivers need not know its size. */
  broadcastMessage(message: Uint8Array | undefined, root: number, options?: CallOptions): Promise<Uint8Array>;
  barrier(options?: CallOptions): Promise<void>;
  send(data: Uint8Array, peer: number, options?: CallOptions): Promise<void>;
  recv(data: Uint8Array, peer: number, options?: CallOptions): Promise<void>;
  /** Fails every call under way and every later one with this message. */
  abort(message: string, peer?: number): void;
  /** Means of calls of one size, timed without JavaScript in between. All ranks call it together. */
  measure(numBytes: number, numCalls: number, workNanoseconds: number, numWorking: number): Promise<CollectiveTimes>;
  /** Totals since creation, of the collectives called here and inside graphs. */
  statistics(): CommunicatorStatistics;
  /** Ends the thread after the calls under way; later calls reject. */
  close(): Promise<void>;
}

/** Cache memory for keys and values, reserved lazily: pages that no token has reached cost nothing. */
export interface KeyValueCache {
  readonly numRows: number;
  readonly maxContext: number;
  /** Bytes reserved (not resident). */
  readonly reservedBytes: number;
  /** Copies the first numTokens positions of row `from` over row `to`, all layers. Runs on the caller's thread. */
  copyRow(from: number, to: number, numTokens: number): void;
  close(): void;
}

export interface KeyValueCacheOptions {
  readonly numRows: number;
  /** Positions per row. */
  readonly maxContext: number;
  /** One entry per cache tensor pair of this rank's graph, e.g. past "past_key_values.0.key" / present "present.0.key". Element type float32. */
  readonly tensors: readonly {
    readonly past: string;
    readonly present: string;
    readonly numHeads: number;
    readonly headDim: number;
  }[];
}

export interface SessionWeight {
  readonly name: string;
  readonly dataType: string;
  readonly shape: readonly number[];
  /** Not copied; the session keeps it alive. */
  readonly data: Uint8Array;
}

export interface SessionOptions {
  /**
   * ONNX bytes. An initializer that `weights` supply is declared in it with name, dims, data_type, data_location EXTERNAL and the
   * external_data entries location "null", offset "0", length "<its bytes>": onnxruntime wants the file to exist (the session looks in
   * /dev) but never reads it. A weight that only constants flow from (Cast or Transpose of a weight) would be folded, that is read, at
   * creation: embed such small constants as raw_data.
   */
  readonly model: Uint8Array;
  readonly weights: readonly SessionWeight[];
  /** Threads of this session's own pool, the calling thread included. */
  readonly intraThreads: number;
  /** Collectives in the graph use it; runs execute on its thread. */
  readonly communicator: Communicator;
  /** Begins the name of the file into which onnxruntime writes when each node ran, until endProfiling; undefined: it writes none. */
  readonly profilePrefix?: string | undefined;
}

export interface Feed {
  readonly name: string;
  readonly dataType: "int64" | "int32" | "float32";
  readonly shape: readonly number[];
  readonly data: Uint8Array;
}

export interface RunOptions {
  readonly feeds: readonly Feed[];
  /** Outputs to return, each copied into a new array; none is fine. Other outputs stay inside. */
  readonly fetch: readonly string[];
  /** Cache rows [firstRow, firstRow + numRows) are bound as past and present of every cache tensor, in place. */
  readonly cache?: { readonly cache: KeyValueCache; readonly firstRow: number; readonly numRows: number };
  readonly tokenSearch?: TokenSearch;
}

/** Asks for the likeliest token of each position; of a vocabulary in shards every rank asks for it in the same run. */
export interface TokenSearch {
  /** With this rank's logits, float32 [.., V or V/P]; undefined on a rank without vocabulary. */
  readonly output: string | undefined;
  readonly numPositions: number;
  /** The first token id of this rank's logits. */
  readonly firstId: number;
  /** Whether the logits are one rank's of several; else each has all. */
  readonly isShard: boolean;
}

/** In place of a token id, where a logit is a NaN or the largest is infinite. */
export const NO_TOKEN = -1;

export interface FetchedValue {
  readonly name: string;
  readonly dataType: string;
  readonly shape: readonly number[];
  readonly data: Uint8Array;
}

export interface RunResult {
  readonly outputs: readonly FetchedValue[];
  /** What was searched for: the lowest of the ids with the largest logit, or NO_TOKEN, the same on every rank. */
  readonly bestTokens: Int32Array;
  /** The whole run, and the part of it spent in collectives. */
  readonly nanoseconds: number;
  readonly collectiveNanoseconds: number;
}

export interface Session {
  run(options: RunOptions): Promise<RunResult>;
  /** Of a session with a profilePrefix, once. The file holds Chrome trace events in microseconds after startMicroseconds of the wall clock. */
  endProfiling(): Promise<{ readonly path: string; readonly startMicroseconds: number }>;
  /** After the runs under way. Comes before its communicator's close. */
  close(): Promise<void>;
}

/** A lock on a file that ends with release() or with the process, however that ends. */
export interface FileLock {
  /** An exclusive lock becomes a shared one. */
  share(): void;
  release(): void;
}

/**
 * A weight [outFeatures, inFeatures] as the ops of domain `shardrun` read it, one blob of bytes that is the same on every CPU:
 * PackedMatMul(x, weight) of 32 bits; QuantizedMatMul(x, weight), IntegerMatMul(x, octaves, weight), AllReduceRescale(sums, octaves, weight), see native/onnxruntime/product_ops.h.
 * Their attributes have these values under the names bits, in_features, out_features, block_size, has_minimum (0 or 1), in_offset.
 * @see native/kernels/packed_weight.h for the bytes
 */
export type PackedLayout =
  | { readonly bits: 32; readonly outFeatures: number; readonly inFeatures: number }
  | { readonly bits: 8; readonly outFeatures: number; readonly inFeatures: number }
  | {
      readonly bits: 4;
      readonly outFeatures: number;
      readonly inFeatures: number;
      /** Inputs that share a scale: a multiple of 32. */
      readonly blockSize: number;
      /** Whether minima are stored; else they are -8 times the scale. */
      readonly hasMinimum: boolean;
      /** Inputs of the first block that belong to another rank. */
      readonly inOffset: number;
    };

/** Changes whenever the bytes of a packed weight come to mean something else: part of the key of whatever keeps them. */
export const PACKED_FORMAT = 2;

/** Rows of floats in memory of any alignment, e.g. in a mapped file. */
export interface FloatMatrix {
  readonly data: Uint8Array;
  readonly dataType: "float32" | "float16" | "bfloat16";
  readonly numColumns: number;
  /** Elements from the beginning of one row to that of the next. */
  readonly rowStride: number;
}

/** Output features [firstOutput, firstOutput + numOutputs) of a packed weight: a weight can be packed part by part. */
export interface PackTarget {
  readonly layout: PackedLayout;
  /** packedWeightBytes(layout) bytes, best at an address divisible by 64. */
  readonly packed: Uint8Array;
  readonly firstOutput: number;
  readonly numOutputs: number;
  readonly numThreads: number;
}

export interface NativeAddon {
  /** Opens libonnxruntime at this path (once per process) and checks its API; returns its version string. */
  openRuntime(libraryPath: string): string;
  listen(options: ListenOptions): Listener;
  /** Connects the group; rejects naming the missing peers after timeoutMs. worldSize 1 needs no listener. */
  connect(listener: Listener | undefined, options: ConnectOptions): Promise<Communicator>;
  createSession(options: SessionOptions): Promise<Session>;
  createKeyValueCache(options: KeyValueCacheOptions): KeyValueCache;
  /**
   * Maps bytes [offset, offset + numBytes) of a file read-only; any alignment of offset. What is to be read whole, and often, is brought
   * into huge pages where the system has them for files.
   */
  readonly mapFile: (
    path: string,
    offset: number,
    numBytes: number,
    options?: { readonly isReadWhole: boolean },
  ) => Uint8Array;
  /**
   * Takes the lock of an existing file without waiting; undefined when others hold it, or when the path has come to name another
   * file meanwhile.
   * @throws {UsageError} when the file cannot be opened, or its file system knows no locks
   */
  readonly lockFile: (path: string, kind: "shared" | "exclusive") => FileLock | undefined;
  packedWeightBytes(layout: PackedLayout): number;
  /** maxima: [numRows], receives the largest absolute value of each row. Runs on the caller's thread and others, as do the next four. */
  absoluteMaxima(options: {
    readonly source: FloatMatrix;
    readonly numRows: number;
    readonly maxima: Float32Array;
    readonly numThreads: number;
  }): void;
  /** Rearranges. source: [numOutputs, inFeatures] */
  packFloat32(options: PackTarget & { readonly source: FloatMatrix }): void;
  /**
   * Quantises to 8 bits, scale = maximum / 127. source: [numOutputs, inFeatures]; maxima: [numOutputs], those of the whole rows, of which
   * source may be the columns of one rank.
   */
  packInt8(options: PackTarget & { readonly source: FloatMatrix; readonly maxima: Float32Array }): void;
  /**
   * Quantises to 4 bits without minima, a scale per block. source: [numOutputs, columns], whole blocks: it begins inOffset inputs before
   * the rank's own and ends where their last block, or the weight, ends; bounds: [numOutputs], model/packed-layout.ts's boundOf.
   */
  packInt4(options: PackTarget & { readonly source: FloatMatrix; readonly bounds: Float32Array }): void;
  /**
   * Takes 4-bit values as they are. values: [numOutputs, numColumns] 0 to 15, a byte each, from the beginning of the first block to the
   * last input at least; scales, and minima where the layout has them: float16 [numOutputs, blocks]; bounds as above.
   */
  packInt4Values(
    options: PackTarget & {
      readonly values: Uint8Array;
      readonly numColumns: number;
      readonly scales: Uint8Array;
      readonly minima?: Uint8Array;
      readonly bounds: Float32Array;
    },
  ): void;
  /** The instruction sets that products and attention can use on this CPU, fastest first: of "avx512vnni", "avx2", "plain". */
  supportedKernels(): string[];
  /**
   * From now on products and attention of this process use these and not the fastest. Products have the same results, bit for bit;
   * of attention, what "plain" rounds more often may differ in the last bits.
   * @throws {UsageError} when this CPU does not have them
   */
  chooseKernels(name: string): void;
  /** Up to so many bytes every rank of an allReduce gives all it has to all others. */
  readonly oneShotBytes: number;
  /** The same between two ranks that share no memory; two that do always exchange directly. */
  readonly pairBytes: number;
  /** The longest block of an allReduce between hosts, of which several are under way at once. */
  readonly blockBytes: number;
  /** Hands the error classes to C++; called once by this file. */
  setErrorClasses(classes: Record<string, unknown>): void;
}

let loaded: NativeAddon | undefined;

/**
 * The addon, loaded at first use.
 * @throws {InternalError} when it has not been built or does not load; says how to build it.
 */
export function native(): NativeAddon {
  if (loaded === undefined) {
    const path = new URL("../../native/build/Release/shardrun.node", import.meta.url).pathname;
    try {
      loaded = createRequire(import.meta.url)(path) as NativeAddon;
    } catch (cause) {
      throw new InternalError(
        `Loading the native addon ${path} failed: ${(cause as Error).message}. Build it with: npm run build:native`,
        { cause },
      );
    }
    loaded.setErrorClasses({ CollectiveError, ExecutionError, UsageError, InternalError });
  }
  return loaded;
}
