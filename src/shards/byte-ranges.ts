/**
 * Sets of bytes of one file: which a rank needs, which a mirror has, which are missing. Lists of ranges go in and come out, sorted
 * and apart from each other. On the wire and in journals they are written as strides, since the rows of a row-parallel weight are
 * thousands of equally long ranges at equal distances.
 */

/** Bytes [begin, end) of a file. */
export interface ByteRange {
  readonly begin: number;
  readonly end: number;
}

/** `count` ranges of `bytes` bytes, the first at `offset`, each `stride` bytes after the one before. */
export type Stride = readonly [offset: number, bytes: number, stride: number, count: number];

/**
 * The same bytes in order, without overlaps; ranges that are closer to each other than `gap` bytes become one.
 * @param gap 1: only those that touch; more: small holes are taken along, where asking for them costs less than leaving them out
 */
export function joinRanges(ranges: readonly ByteRange[], gap = 1): ByteRange[] {
  const joined: ByteRange[] = [];
  for (const range of ranges.toSorted((a, b) => a.begin - b.begin)) {
    const last = joined.at(-1);
    if (range.begin >= range.end) continue;
    if (last !== undefined && range.begin - last.end < gap) {
      joined[joined.length - 1] = { begin: last.begin, end: Math.max(last.end, range.end) };
    } else {
      joined.push(range);
    }
  }
  return joined;
}

/** What `wanted` has and `present` has not; both joined. */
export function subtractRanges(wanted: readonly ByteRange[], present: readonly ByteRange[]): ByteRange[] {
  const missing: ByteRange[] = [];
  let next = 0;
  for (const { begin, end } of wanted) {
    let from = begin;
    while (next < present.length && present[next]!.end <= from) next += 1;
    for (let i = next; i < present.length && present[i]!.begin < end; i += 1) {
      if (present[i]!.begin > from) missing.push({ begin: from, end: present[i]!.begin });
      from = present[i]!.end;
    }
    if (from < end) missing.push({ begin: from, end });
  }
  return missing;
}

export function countBytes(ranges: readonly ByteRange[]): number {
  return ranges.reduce((sum, { begin, end }) => sum + end - begin, 0);
}

/** Ranges as strides: one each, but for rows of equal length at equal distances. */
export function encodeRanges(ranges: readonly ByteRange[]): Stride[] {
  const strides: [number, number, number, number][] = [];
  for (const { begin, end } of ranges) {
    const last = strides.at(-1);
    const distance = last === undefined ? 0 : begin - (last[0] + last[2] * (last[3] - 1));
    if (last !== undefined && end - begin === last[1] && (last[3] === 1 || distance === last[2])) {
      last[2] = distance;
      last[3] += 1;
    } else {
      strides.push([begin, end - begin, 0, 1]);
    }
  }
  return strides;
}

export function decodeRanges(strides: readonly Stride[]): ByteRange[] {
  return strides.flatMap(([offset, bytes, stride, count]) =>
    Array.from({ length: count }, (_, i) => ({ begin: offset + i * stride, end: offset + i * stride + bytes })),
  );
}
