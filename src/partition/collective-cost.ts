/**
 * What a collective costs, by the algorithm that native/collectives/algorithms.h chooses for it: the exchanges it is made of, and how
 * long each of them takes on a link. Nothing else in src/ knows what the algorithms cost.
 */

/** Which algorithm an allReduce takes depends on its bytes. */
export interface AlgorithmLimits {
  /** Up to here it is one direct exchange. */
  readonly oneShotBytes: number;
  /** The same between two ranks that share no memory. */
  readonly pairBytes: number;
}

/** One exchange of all ranks, after which each of them has what it takes. */
export interface Exchange {
  /** Over the network, or through the memory that the ranks of a host share. */
  readonly between: "hosts" | "ranks of a host";
  /** What must come into the host, or into the rank, that takes most. */
  readonly bytes: number;
}

/** A call for one message. */
export interface CollectiveCall {
  readonly kind: "allReduce" | "allGather";
  /** Of the whole value. */
  readonly bytes: number;
}

/** @param hosts how many ranks each of them has */
export function listExchanges(
  { kind, bytes }: CollectiveCall,
  hosts: readonly number[],
  { oneShotBytes, pairBytes }: AlgorithmLimits,
): readonly Exchange[] {
  const numRanks = hosts.reduce((sum, count) => sum + count, 0);
  const numHosts = hosts.length;
  if (numRanks === 1) return [];
  const between = numHosts === 1 ? "ranks of a host" : "hosts";
  /** Every rank takes so much from every other; the ranks of a host share its link. */
  const direct = (bytesPerPeer: number): Exchange => ({
    between,
    bytes:
      numHosts === 1
        ? (numRanks - 1) * bytesPerPeer
        : Math.max(...hosts.map((count) => count * (numRanks - count))) * bytesPerPeer,
  });
  if (kind === "allGather") return [direct(bytes / numRanks)];
  const longestDirect = numRanks > 2 ? oneShotBytes : numHosts === 1 ? Infinity : pairBytes;
  if (bytes <= longestDirect) return [direct(bytes)];
  const chunks = direct(bytes / numRanks);
  if (numHosts === 1 || numHosts === numRanks) return [chunks, chunks]; // reduce-scatter, all-gather
  const inHost: Exchange = { between: "ranks of a host", bytes };
  const ofHost: Exchange = { between: "hosts", bytes: ((numHosts - 1) / numHosts) * bytes };
  return [inHost, ofHost, ofHost, inHost];
}

/** Messages that were timed or described: the first hardly has bytes, each next one more. */
export type MessageTimes = readonly { readonly bytes: number; readonly seconds: number }[];

/** What lies between ranks. */
export interface Links {
  readonly hosts: MessageTimes;
  readonly "ranks of a host": MessageTimes;
}

export function exchangeSeconds(exchanges: readonly Exchange[], links: Links): number {
  return exchanges.reduce((sum, { between, bytes }) => sum + messageSeconds(links[between], bytes), 0);
}

/** On the line through the two messages that it lies between, or through the last two. */
export function messageSeconds(times: MessageTimes, bytes: number): number {
  const next = times.findIndex((message) => message.bytes >= bytes);
  const at = next === -1 ? times.length - 1 : Math.max(next, 1);
  const [before, after] = [times[at - 1]!, times[at]!];
  const slope = (after.seconds - before.seconds) / (after.bytes - before.bytes);
  return Math.max(before.seconds + slope * (bytes - before.bytes), times[0]!.seconds);
}

/** Where a message takes a latency, and its bytes at one rate. */
export function describedLink(latencySeconds: number, bytesPerSecond: number): MessageTimes {
  return [
    { bytes: 0, seconds: latencySeconds },
    { bytes: bytesPerSecond, seconds: latencySeconds + 1 },
  ];
}
