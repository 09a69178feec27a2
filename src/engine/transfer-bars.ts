/**
 * Progress bars for weights on their way to other hosts: what was sent so far comes in; a line per host with a bar and a rate is
 * drawn on the launcher's terminal, and wiped when all is sent.
 */
import { createRequire } from "node:module";
import { Writable } from "node:stream";
import type { MultiBar, SingleBar } from "cli-progress";
import type { HostTransfer, TransferWatcher } from "../execute/provide-model.ts";
import { writeAtOnce } from "../log.ts";
import { formatByteSize } from "../shards/cache-settings.ts";

/** Where nothing is sent, a start need not wait for the 16 ms that the library takes to load. */
const loadLibrary = createRequire(import.meta.url);

const FORMAT = "{host} [{bar}] {percentage}% of {size}, {rate}/s";
const BAR_COLUMNS = 24;

/** @param columns of the terminal; undefined: there is none, so nothing is drawn */
export function drawTransfers(columns: number | undefined): TransferWatcher {
  if (columns === undefined) return { update: () => {}, end: () => {} };
  let bars: TransferBars | undefined;
  return {
    update(transfers) {
      bars ??= new TransferBars(columns);
      bars.update(transfers);
    },
    end() {
      bars?.stop();
      bars = undefined;
    },
  };
}

class TransferBars {
  readonly #bars: MultiBar;
  readonly #ofHost = new Map<string, SingleBar>();

  constructor(columns: number) {
    const stream = Object.assign(new Writable({ decodeStrings: false, write: writeToTerminal }), {
      isTTY: true,
      columns,
    });
    const library = loadLibrary("cli-progress") as { readonly MultiBar: typeof MultiBar };
    // Lines are cut instead of the terminal's wrapping being turned off, which a run that dies would leave so.
    this.#bars = new library.MultiBar({
      stream,
      format: FORMAT,
      barsize: BAR_COLUMNS,
      linewrap: true,
      clearOnComplete: true,
    });
  }

  update(transfers: readonly HostTransfer[]): void {
    const hostColumns = Math.max(...transfers.map(({ host }) => host.length));
    for (const { host, totalBytes, sentBytes, milliseconds } of transfers) {
      if (totalBytes === 0) continue;
      const payload = {
        host: host.padEnd(hostColumns),
        size: formatByteSize(totalBytes),
        rate: formatByteSize(milliseconds === 0 ? 0 : sentBytes / (milliseconds / 1000)),
      };
      const bar = this.#ofHost.get(host) ?? this.#bars.create(totalBytes, 0, payload);
      this.#ofHost.set(host, bar);
      bar.setTotal(totalBytes);
      bar.update(sentBytes, payload);
    }
  }

  stop(): void {
    this.#bars.stop();
  }
}

function writeToTerminal(text: string, _encoding: BufferEncoding, done: () => void): void {
  writeAtOnce(text);
  done();
}
