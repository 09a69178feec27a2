/**
 * Arithmetic of runs: lists of stretches [begin, end) that say which indices of an axis a rank holds.
 * A file of its own because dealing, planning and rewriting all count with them.
 */
import type { Run } from "../model/graph.ts";

/** How many indices the runs hold. */
export function countIndices(runs: readonly Run[]): number {
  return runs.reduce((sum, run) => sum + run.end - run.begin, 0);
}

/** Runs of units turned into runs of indices, `unitSize` indices a unit, the last one perhaps fewer: there are `numIndices` in all. */
export function scaleRuns(runs: readonly Run[], unitSize: number, numIndices: number): Run[] {
  return runs.map(({ begin, end }) => ({ begin: begin * unitSize, end: Math.min(end * unitSize, numIndices) }));
}

/** The runs moved up by `offset`. */
export function shiftRuns(runs: readonly Run[], offset: number): Run[] {
  return runs.map(({ begin, end }) => ({ begin: begin + offset, end: end + offset }));
}

/** The same indices in the same order with as few runs as possible. */
export function joinRuns(runs: readonly Run[]): Run[] {
  const joined: Run[] = [];
  for (const run of runs) {
    const last = joined.at(-1);
    if (run.begin === run.end) continue;
    if (last?.end === run.begin) joined[joined.length - 1] = { begin: last.begin, end: run.end };
    else joined.push(run);
  }
  return joined;
}

/** Every index of the runs, one by one. */
export function listIndices(runs: readonly Run[]): number[] {
  return runs.flatMap(({ begin, end }) => Array.from({ length: end - begin }, (_, i) => begin + i));
}

/** The ranks' shards behind each other, put back in order: position of each whole index. Undefined when they are in order. */
export function orderOfGathered(runs: readonly (readonly Run[])[]): number[] | undefined {
  const gathered = runs.flatMap(listIndices);
  if (gathered.every((index, position) => index === position)) return undefined;
  const positions = new Array<number>(gathered.length);
  gathered.forEach((index, position) => (positions[index] = position));
  return positions;
}
