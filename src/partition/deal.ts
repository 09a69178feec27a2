/**
 * Dealing: which units (features, heads, vocabulary entries) of an axis go to which rank.
 * Uneven is normal, nothing is a possible share, and the answer depends on nothing but the counts and the ranks' weights.
 */
import { joinRuns, listIndices, type Stretch } from "./runs.ts";

/**
 * Deals `numUnits` to the ranks in proportion to their weights, each rank one stretch, in rank order.
 * Every rank gets its share rounded down; what is left goes to the largest remainders, lower ranks first.
 */
export function dealUnits(numUnits: number, rankWeights: readonly number[]): Stretch[][] {
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

/**
 * The key/value heads that a rank needs beside its query heads, `groupSize` query heads sharing one in the whole model.
 * Attention serves every key/value head the same number of query heads, so that number becomes the greatest one
 * that divides every group's share here, and a head is repeated where its share is larger:
 * query heads 4 5 of groups of 4 -> [1];  3 4 -> [0, 1];  2 3 4 -> [0, 0, 1].
 */
export function dealKeyValueHeads(queryHeads: readonly Stretch[], groupSize: number): Stretch[] {
  const sharePerGroup = new Map<number, number>();
  for (const head of listIndices(queryHeads)) {
    const group = Math.floor(head / groupSize);
    sharePerGroup.set(group, (sharePerGroup.get(group) ?? 0) + 1);
  }
  const headsPerKeyValueHead = [...sharePerGroup.values()].reduce(greatestCommonDivisor, 0);
  return joinRuns(
    [...sharePerGroup].flatMap(([group, share]) =>
      Array.from({ length: share / headsPerKeyValueHead }, () => ({ begin: group, end: group + 1 })),
    ),
  );
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
