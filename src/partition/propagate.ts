/**
 * Walks until every cut is worth it. A cut is, when a row-parallel product, the logits or a cache ends it; else it would cost
 * a gather and save no allReduce. Products whose cut is not are refused one, with the reason, and the walk begins again.
 * That ends, for every walk but the last refuses one product more.
 */
import type { Graph, GraphNode } from "../model/graph.ts";
import type { Cut } from "./cut.ts";
import type { Shape } from "./shapes.ts";
import { walkOnce, type Walk } from "./walk.ts";

/** How every value of the graph lies, for a world of this size. */
export function propagate(graph: Graph, shapes: ReadonlyMap<string, Shape>, worldSize: number): Walk {
  const refusals = new Map<GraphNode, string>();
  if (worldSize === 1) for (const node of graph.nodes) refusals.set(node, "one rank holds everything");
  for (;;) {
    const walk = walkOnce(graph, shapes, worldSize, refusals);
    const numRefused = refusals.size;
    for (const { origin, flow } of walk.steps) {
      const reason = flow.opens && findRefusal(flow.opens, walk);
      if (reason !== undefined) refusals.set(origin, reason);
    }
    if (refusals.size === numRefused) return walk;
  }
}

/** Why a cut must not be opened; undefined when it may. */
function findRefusal(opened: Cut, { cuts, steps, keptCut, gathered }: Walk): string | undefined {
  const isRelated = (cut: Cut | undefined): cut is Cut => cut !== undefined && cuts.areRelated(cut, opened);
  const closing = steps.flatMap(({ flow: { closes, closesStretch = false } }) =>
    isRelated(closes) ? [{ cut: closes, closesStretch }] : [],
  );
  const madeWhole = gathered.filter(({ cut }) => isRelated(cut));

  const impossible = madeWhole.find(({ cut, isCache }) => isCache || cuts.repeats(cut));
  if (impossible !== undefined) return impossible.reason;
  if (closing.some(({ cut }) => cuts.repeats(cut)))
    return "a product would add up key/value heads that several ranks hold";
  if (closing.some(({ cut, closesStretch }) => closesStretch && !cuts.isContiguous(cut))) {
    return "blocks of 4 bits are packed from a single stretch of inputs";
  }
  if (closing.length > 0 || keptCut.some(isRelated)) return undefined;
  return madeWhole[0]?.reason ?? "no row-parallel product follows";
}
