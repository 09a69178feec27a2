/**
 * Rank 0's side of streaming: offered files go out to the ranks that fetch for their hosts, which take turns chunk by chunk.
 * Cost: every byte that is missing on a host crosses to it once; in memory are two chunks per host.
 */
import type { Communicator } from "../collective/native.ts";
import { cutIntoChunks, digestOf, type Chunk } from "./chunks.ts";
import type { OfferedFiles } from "./offered-files.ts";
import { countBytes } from "./byte-ranges.ts";
import { ChunkBuffer, PATIENT, receiveRequest, STOP, WINDOW } from "./transfer-wire.ts";

/** What one host was sent. */
export interface Transfer {
  /** The rank that fetched. */
  readonly rank: number;
  /** Asked for so far; less than what the host needs when it had some. */
  readonly totalBytes: number;
  readonly sentBytes: number;
  /** From the first request to the last answer. */
  readonly milliseconds: number;
}

/**
 * Serves the fetching ranks until none wants more.
 * @param report called after each chunk, with what each host has been sent
 * @throws {ModelError} when a file changes meanwhile; the fetching ranks know by then
 */
export async function serveFiles(
  communicator: Communicator,
  files: OfferedFiles,
  peers: readonly number[],
  report: (transfers: readonly Transfer[]) => void,
): Promise<readonly Transfer[]> {
  const all = peers.map((peer) => new Service(communicator, files, peer));
  const transfers = (): readonly Transfer[] => all.map((service) => service.transfer);
  for (let asking: readonly Service[] = all; asking.length > 0;) {
    asking = await filterInTurn(asking, (service) => service.receiveRequest());
    for (let sending = asking; sending.length > 0;) {
      sending = await filterInTurn(sending, (service) => service.sendChunk());
      report(transfers());
    }
  }
  const failed = all.find(({ failure }) => failure !== undefined);
  if (failed !== undefined) throw failed.failure!;
  return transfers();
}

async function filterInTurn<T>(list: readonly T[], predicate: (item: T) => Promise<boolean>): Promise<readonly T[]> {
  const kept: T[] = [];
  for (const item of list) if (await predicate(item)) kept.push(item);
  return kept;
}

/** The talk with one fetching rank. */
class Service {
  readonly #communicator: Communicator;
  readonly #files: OfferedFiles;
  readonly #peer: number;
  readonly #buffers = [new ChunkBuffer(), new ChunkBuffer()] as const;
  #chunks: Iterator<Chunk, void> = cutIntoChunks([]);
  /** Of this round. */
  #numSent = 0;
  #numAnswered = 0;
  #sending: Promise<void> = Promise.resolve();
  #startedAt: number | undefined;
  #endedAt = 0;
  #totalBytes = 0;
  #sentBytes = 0;
  #failure: Error | undefined;

  constructor(communicator: Communicator, files: OfferedFiles, peer: number) {
    this.#communicator = communicator;
    this.#files = files;
    this.#peer = peer;
  }

  /** Why the files cannot be read any more. */
  get failure(): Error | undefined {
    return this.#failure;
  }

  get transfer(): Transfer {
    return {
      rank: this.#peer,
      totalBytes: this.#totalBytes,
      sentBytes: this.#sentBytes,
      milliseconds: this.#startedAt === undefined ? 0 : this.#endedAt - this.#startedAt,
    };
  }

  /** Waits for what the rank wants next; false: nothing more. */
  async receiveRequest(): Promise<boolean> {
    const request = await receiveRequest(this.#communicator, this.#peer, this.#files.offer);
    if (request === undefined) return false;
    this.#startedAt ??= performance.now();
    this.#endedAt = performance.now();
    this.#totalBytes += request.reduce((sum, ranges) => sum + countBytes(ranges), 0);
    this.#chunks = cutIntoChunks(request);
    [this.#numSent, this.#numAnswered] = [0, 0];
    return true;
  }

  /** Sends the next chunk while the one before it is still on its way; false: that was the round. */
  async sendChunk(): Promise<boolean> {
    const { done, value: chunk } = this.#chunks.next();
    if (done === true) return this.#endRound();
    const answering = this.#numSent < WINDOW ? Promise.resolve(false) : this.#receiveAnswer();
    const buffer = this.#buffers[this.#numSent % 2]!;
    this.#fill(buffer, chunk);
    const [wantsStop] = await Promise.all([answering, this.#sending]);
    if (wantsStop) return this.#endRound();
    this.#sending = this.#communicator.send(buffer.message(chunk.bytes), this.#peer, PATIENT);
    this.#sending.catch(() => undefined); // waited for with the next chunk
    this.#numSent += 1;
    this.#sentBytes += buffer.isGood ? chunk.bytes : 0;
    this.#endedAt = performance.now();
    return true;
  }

  #fill(buffer: ChunkBuffer, chunk: Chunk): void {
    const data = buffer.data(chunk.bytes);
    try {
      if (this.#failure === undefined) this.#files.read(chunk, data);
    } catch (error) {
      this.#failure = error as Error;
    }
    buffer.isGood = this.#failure === undefined;
    buffer.digest.set(digestOf(data));
  }

  async #endRound(): Promise<false> {
    await this.#sending;
    while (this.#numAnswered < this.#numSent) await this.#receiveAnswer();
    this.#endedAt = performance.now();
    return false;
  }

  async #receiveAnswer(): Promise<boolean> {
    const answer = new Uint8Array(1);
    this.#numAnswered += 1;
    await this.#communicator.recv(answer, this.#peer, PATIENT);
    return answer[0] === STOP;
  }
}
