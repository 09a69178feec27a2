/**
 * The algebra of a cut axis. A cut says in which units an axis is dealt to the ranks, without saying yet who gets how many:
 * a product opens a cut of plain units, and the ops that it flows through tell more about it (heads, packed parts, a partner
 * that must be dealt alike) until a second product closes it. Telling more is unification, the one operation of this file.
 *
 *     gate|up  [B, S, 2F]          packed(units(F), units(F)), the two made equal by the Mul between them
 *     q|k|v    [B, S, (N+2K)*H]    packed(scaled(heads, H), scaled(kvHeads, H), scaled(kvHeads, H))
 *     attn     [B, S, N*H]         scaled(heads, H), the same heads
 */
import type { Run } from "../model/graph.ts";
import { dealKeyValueHeads, dealUnits } from "./deal.ts";
import { joinRuns, scaleRuns, shiftRuns } from "./runs.ts";

export type Cut =
  /** A variable: units that are dealt on their own. Two are the same only when they are the same object, or unified. */
  | { readonly kind: "units"; readonly count: number }
  /** Each index of `of` stands for `by` neighbours, the last one for what is left of `size`. */
  | { readonly kind: "scaled"; readonly of: Cut; readonly by: number; readonly size: number }
  /** Parts behind each other on one axis, each dealt on its own. */
  | { readonly kind: "packed"; readonly parts: readonly Cut[] }
  /** The key/value heads that the query heads `of` read; several ranks may hold the same one. */
  | { readonly kind: "keyValueHeads"; readonly of: Cut; readonly groupSize: number };

/** Units of which nothing is known but how many. */
export function units(count: number): Cut {
  return { kind: "units", count };
}

/** `by` neighbouring indices for each index of `of`; fewer for the last one if `size` says so. */
export function scaled(of: Cut, by: number, size = axisSize(of) * by): Cut {
  return by === 1 ? of : { kind: "scaled", of, by, size };
}

/** Blocks of `by` neighbours of an axis, the last one perhaps shorter. */
export function blocks(size: number, by: number): Cut {
  return scaled(units(Math.ceil(size / by)), by, size);
}

/** Parts behind each other. */
export function packed(parts: readonly Cut[]): Cut {
  return parts.length === 1 ? parts[0]! : { kind: "packed", parts };
}

/** How many indices the whole axis has. */
export function axisSize(cut: Cut): number {
  switch (cut.kind) {
    case "units":
      return cut.count;
    case "scaled":
      return cut.size;
    case "packed":
      return cut.parts.reduce((sum, part) => sum + axisSize(part), 0);
    case "keyValueHeads":
      return axisSize(cut.of) / cut.groupSize;
  }
}

/** What is known about the cuts of one graph, as far as it has been walked. */
export class Cuts {
  readonly #bindings = new Map<Cut, Cut>();

  /**
   * Makes both cuts one. False when they cannot be: the axes must then be made whole.
   * What was learned before the failure stays; it only narrows, so it is never wrong.
   */
  unify(left: Cut, right: Cut): boolean {
    const a = this.#find(left);
    const b = this.#find(right);
    if (a === b) return true;
    if (axisSize(a) !== axisSize(b)) return false;
    if (a.kind === "units") return this.#bind(a, b);
    if (b.kind === "units") return this.#bind(b, a);
    if (a.kind === "scaled" && b.kind === "scaled") {
      if (a.by < b.by) return this.unify(b, a);
      return a.by % b.by === 0 && this.unify(scaled(a.of, a.by / b.by, axisSize(b.of)), b.of);
    }
    if (a.kind === "packed" && b.kind === "packed") {
      return (
        a.parts.length === b.parts.length && a.parts.every((part, index) => this.unify(part, b.parts[index] ?? part))
      );
    }
    if (a.kind === "packed" && b.kind === "scaled") return this.#unifyParts(a.parts, b.of, b.by);
    if (b.kind === "packed" && a.kind === "scaled") return this.#unifyParts(b.parts, a.of, a.by);
    return a.kind === "keyValueHeads" && b.kind === "keyValueHeads" && this.unify(a.of, b.of);
  }

  /** packed(parts) = scaled(of, by): every part is itself made of whole units of `by`. */
  #unifyParts(parts: readonly Cut[], of: Cut, by: number): boolean {
    if (parts.some((part) => axisSize(part) % by !== 0)) return false;
    const coarse = parts.map((part) => units(axisSize(part) / by));
    return this.unify(of, packed(coarse)) && parts.every((part, index) => this.unify(part, scaled(coarse[index]!, by)));
  }

  #find(cut: Cut): Cut {
    const bound = this.#bindings.get(cut);
    return bound === undefined ? cut : this.#find(bound);
  }

  #bind(variable: Cut, cut: Cut): boolean {
    if (this.unitsOf(cut).has(variable)) return false;
    this.#bindings.set(variable, cut);
    return true;
  }

  /** The units on which a cut rests. */
  unitsOf(cut: Cut): ReadonlySet<Cut> {
    const found = this.#find(cut);
    switch (found.kind) {
      case "units":
        return new Set([found]);
      case "scaled":
      case "keyValueHeads":
        return this.unitsOf(found.of);
      case "packed":
        return new Set(found.parts.flatMap((part) => [...this.unitsOf(part)]));
    }
  }

  /** Whether both rest on common units, so that cutting one means cutting the other. */
  areRelated(left: Cut, right: Cut): boolean {
    const unitsOfRight = this.unitsOf(right);
    return [...this.unitsOf(left)].some((variable) => unitsOfRight.has(variable));
  }

  /** Whether an index may lie on several ranks: such an axis can be neither summed over nor gathered. */
  repeats(cut: Cut): boolean {
    const found = this.#find(cut);
    if (found.kind === "scaled") return this.repeats(found.of);
    if (found.kind === "packed") return found.parts.some((part) => this.repeats(part));
    return found.kind === "keyValueHeads";
  }

  /** Whether every rank holds one stretch, in rank order: the shards behind each other are then the whole axis. */
  isContiguous(cut: Cut): boolean {
    const found = this.#find(cut);
    return found.kind === "units" || (found.kind === "scaled" && this.isContiguous(found.of));
  }

  /** Each rank's indices of the axis, now that everything is known. */
  deal(cut: Cut, rankWeights: readonly number[]): Run[][] {
    const found = this.#find(cut);
    switch (found.kind) {
      case "units":
        return dealUnits(found.count, rankWeights);
      case "scaled":
        return this.deal(found.of, rankWeights).map((runs) => scaleRuns(runs, found.by, found.size));
      case "keyValueHeads":
        return this.deal(found.of, rankWeights).map((heads) => dealKeyValueHeads(heads, found.groupSize));
      case "packed": {
        let offset = 0;
        const parts = found.parts.map((part) => {
          const runs = this.deal(part, rankWeights).map((runsOfRank) => shiftRuns(runsOfRank, offset));
          offset += axisSize(part);
          return runs;
        });
        return rankWeights.map((_, rank) => joinRuns(parts.flatMap((runs) => runs[rank] ?? [])));
      }
    }
  }
}
