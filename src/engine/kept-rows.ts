/**
 * What free cache rows still hold: keys and values of sequences that have ended, so that one which begins alike need not be computed
 * from its beginning. Knows tokens and rows only; the scheduler moves them. Pure.
 */

interface KeptSequence {
  readonly tokenIds: readonly number[];
  /** The later, the more recently. */
  readonly lastUse: number;
}

/** The beginning of a sequence that a row holds. */
export interface KeptPrefix {
  readonly row: number;
  readonly numTokens: number;
}

export class KeptRows {
  /** By row; a row that is not there holds nothing of use. */
  readonly #sequences = new Map<number, KeptSequence>();
  #numUses = 0;

  /** From now on `row` holds these tokens. */
  keep(row: number, tokenIds: readonly number[]): void {
    if (tokenIds.length > 0) this.#sequences.set(row, { tokenIds, lastUse: this.#numUses++ });
  }

  /** The tokens that `row` holds; none when it holds nothing of use. */
  tokensOf(row: number): readonly number[] {
    return this.#sequences.get(row)?.tokenIds ?? [];
  }

  /** What `row` held is no longer there. */
  drop(row: number): void {
    this.#sequences.delete(row);
  }

  clear(): void {
    this.#sequences.clear();
  }

  /** The row with the longest beginning of a prompt. Its last token is never part of it: the logits after it are wanted. */
  findPrefix(promptIds: readonly number[]): KeptPrefix | undefined {
    let longest: KeptPrefix | undefined;
    for (const [row, sequence] of this.#sequences) {
      const numTokens = Math.min(countCommon(sequence.tokenIds, promptIds), promptIds.length - 1);
      if (numTokens > (longest?.numTokens ?? 0)) longest = { row, numTokens };
    }
    return longest;
  }

  /**
   * Of rows [first, end) but for one that is needed, a row that holds nothing, else the one that was kept longest ago; undefined when
   * there is none.
   */
  findRoom(first: number, end: number, needed?: number): number | undefined {
    let oldest: number | undefined;
    for (let row = first; row < end; row++) {
      if (row === needed) continue;
      const sequence = this.#sequences.get(row);
      if (sequence === undefined) return row;
      if (oldest === undefined || sequence.lastUse < this.#sequences.get(oldest)!.lastUse) oldest = row;
    }
    return oldest;
  }
}

function countCommon(a: readonly number[], b: readonly number[]): number {
  let count = 0;
  while (count < a.length && count < b.length && a[count] === b[count]) count++;
  return count;
}
