/**
 * Where the ranks' output goes: the launcher's own stdout and stderr, line by line and tagged if wanted, and files
 * per rank if wanted. It says when it can take no more for now, so that the ranks are slowed down and no memory fills.
 */
import { createWriteStream, mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Writable } from "node:stream";
import { LaunchError } from "../errors.ts";
import { LineMerger } from "./line-merger.ts";
import { LinePrefixer } from "./line-prefixer.ts";

export type StreamName = "stdout" | "stderr";

export interface OutputOptions {
  readonly worldSize: number;
  readonly tagOutput?: boolean;
  readonly timestampOutput?: boolean;
  /** Also write DIRECTORY/1/rank.N/stdout and stderr, as mpirun does. */
  readonly outputDirectory?: string;
}

export interface OutputEvents {
  /** What was congested takes output again. */
  readonly room: () => void;
  /** The reader of our stdout has gone (`| head -1`): there is no use in going on. */
  readonly readerGone: () => void;
  /** An output file cannot be written. */
  readonly fileFailed: (error: LaunchError) => void;
}

export class RankOutput {
  readonly #options: OutputOptions;
  readonly #events: OutputEvents;
  readonly #streams: Readonly<Record<StreamName, Writable>>;
  readonly #mergers: Readonly<Record<StreamName, LineMerger>>;
  readonly #prefixers = new Map<string, LinePrefixer>();
  readonly #files = new Map<string, Writable>();
  readonly #congested = new Set<Writable>();
  readonly #broken = new Set<Writable>();

  /** @param streams the launcher's own stdout and stderr */
  constructor(options: OutputOptions, streams: Readonly<Record<StreamName, Writable>>, events: OutputEvents) {
    this.#options = options;
    this.#events = events;
    this.#streams = streams;
    this.#mergers = {
      stdout: new LineMerger((bytes) => this.#write(streams.stdout, bytes)),
      stderr: new LineMerger((bytes) => this.#write(streams.stderr, bytes)),
    };
    streams.stdout.on("error", () => {
      this.#giveUp(streams.stdout);
      events.readerGone();
    });
    streams.stderr.on("error", () => this.#giveUp(streams.stderr));
  }

  /** True while a destination is full: hand over no more until the room event. */
  get isCongested(): boolean {
    return this.#congested.size > 0;
  }

  /** Takes what a rank wrote. */
  push(rank: number, stream: StreamName, chunk: Buffer): void {
    const { tagOutput, timestampOutput, outputDirectory } = this.#options;
    if (outputDirectory !== undefined) this.#write(this.#file(outputDirectory, rank, stream), chunk);
    const lines = tagOutput || timestampOutput ? this.#prefixer(rank, stream).apply(chunk) : chunk;
    this.#mergers[stream].push(rank, lines);
  }

  /** The rank writes no more. */
  end(rank: number): void {
    this.#mergers.stdout.end(rank);
    this.#mergers.stderr.end(rank);
  }

  /** Lets out all that is held, and waits until the system has taken it. */
  async close(): Promise<void> {
    this.#mergers.stdout.flush();
    this.#mergers.stderr.flush();
    const taken = [
      ...Object.values(this.#streams).map(
        (stream) => new Promise<void>((resolve) => stream.write("", () => resolve())),
      ),
      ...[...this.#files.values()].map((file) => new Promise<void>((resolve) => file.end(() => resolve()))),
    ];
    await Promise.all(taken);
  }

  #write(destination: Writable, bytes: Buffer): void {
    if (this.#broken.has(destination) || destination.write(bytes) || this.#congested.has(destination)) return;
    this.#congested.add(destination);
    destination.once("drain", () => this.#relieve(destination));
  }

  #relieve(destination: Writable): void {
    if (this.#congested.delete(destination) && !this.isCongested) this.#events.room();
  }

  #giveUp(destination: Writable): void {
    this.#broken.add(destination);
    this.#relieve(destination);
  }

  #prefixer(rank: number, stream: StreamName): LinePrefixer {
    const key = `${rank}.${stream}`;
    let prefixer = this.#prefixers.get(key);
    if (prefixer === undefined) {
      prefixer = new LinePrefixer(() => this.#prefix(rank, stream));
      this.#prefixers.set(key, prefixer);
    }
    return prefixer;
  }

  /** mpirun's forms: "[1,0]<stdout>:" (job 1, rank 0) and "Sun Nov 22 06:09:09 2026<stdout>:". */
  #prefix(rank: number, stream: StreamName): string {
    const time = this.#options.timestampOutput ? formatTime(new Date()) : "";
    const tag = this.#options.tagOutput ? `[1,${rank}]` : "";
    return `${time}${tag}<${stream}>:`;
  }

  #file(directory: string, rank: number, stream: StreamName): Writable {
    const digits = String(this.#options.worldSize).length;
    const path = join(directory, "1", `rank.${String(rank).padStart(digits, "0")}`, stream);
    let file = this.#files.get(path);
    if (file === undefined) {
      mkdirSync(join(path, ".."), { recursive: true });
      file = createWriteStream(path);
      const opened = file;
      opened.on("error", (error) => {
        this.#giveUp(opened);
        this.#events.fileFailed(
          new LaunchError(`Could not write the output of rank ${rank} to ${path}: ${error.message}.`),
        );
      });
      this.#files.set(path, file);
    }
    return file;
  }
}

/** The C library's ctime: "Sun Nov 22 06:09:09 2026". */
function formatTime(date: Date): string {
  const [day, month, , year] = date.toDateString().split(" ");
  const dayOfMonth = String(date.getDate()).padStart(2, " ");
  return `${day} ${month} ${dayOfMonth} ${date.toTimeString().slice(0, 8)} ${year}`;
}
