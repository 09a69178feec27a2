/** What the user is told of weights that crossed to other hosts, or need not: one line per sending, one for all the rest. */
import type { HostTransfer } from "../execute/provide-model.ts";
import { formatByteSize } from "../shards/cache-settings.ts";

/** Lines without a line end; none when every host has a copy of the model. */
export function describeTransfers(transfers: readonly HostTransfer[]): string[] {
  const cached = transfers.filter(({ sentBytes }) => sentBytes === 0).map(({ host }) => host);
  const sent = transfers.filter(({ sentBytes }) => sentBytes > 0);
  return [
    ...sent.map(({ host, sentBytes, milliseconds }) => {
      const seconds = milliseconds / 1000;
      const rate = formatByteSize(sentBytes / seconds);
      return `sent ${formatByteSize(sentBytes)} of weights to ${host} in ${seconds.toPrecision(3)} s (${rate}/s).`;
    }),
    ...(cached.length === 0 ? [] : [`sent 0 bytes of weights to ${cached.join(", ")}: cached there.`]),
  ];
}
