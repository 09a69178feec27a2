/**
 * Dealing: which units (features, heads, vocabulary entries) of an axis go to which rank.
 * Uneven is normal, nothing is a possible share, and the answer depends on nothing but the counts and the ranks' weights.
 */
import type { Run } from "../model/graph.ts";
import { joinRuns } from "./runs.ts";

/**
 * Deals `numUnits` to the ranks in proportion to their weights, each rank one stretch, in rank order.
 * Every rank gets its share rounded down; what is left goes to the largest remainders, lower ranks first.
 */
export function dealUnits(numUnits: number, rankWeights: readonly number[]): Run[][] {
  const total = rankWeights.reduce((sum, weight) => sum + weight, 0);
  const shares = rankWeights.map((weight) => (numUnits * weight) / total);
  const counts = shares.map(Math.floor);
  const byRemainder = shares
    .map((share, rank) => ({ rank, remainder: share - Math.floor(share) }))
    .sort((a, b) => b.remainder - a.remainder || a.rank - b.rank);
  const numLeft = numUnits - counts.reduce((sum, count) => sum + count, 0);
  for (const { rank } of byRemainder.slice(0, numLeft)) counts[rank]! += 1;

  let begin = 0;
  return counts.map((count) => {
    const end = begin + count;
    const stretch = { begin, end };
    begin = end;
    return count === 0 ? [] : [stretch];
  });
}

/** The key/value heads that a rank's query heads read, `groupSize` query heads sharing one: query heads 2 3 4 of groups of 4 -> [0, 1]. */
export function dealKeyValueHeads(queryHeads: readonly Run[], groupSize: number): Run[] {
  return joinRuns(
    queryHeads.map(({ begin, end }) => ({ begin: Math.floor(begin / groupSize), end: Math.ceil(end / groupSize) })),
  );
}
