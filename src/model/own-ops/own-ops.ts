/**
 * Ops of our own in place of plain ones: passes over one rank's graph, after the cut. Families and rules know onnxruntime's ops only, and
 * these are what --dump-graph shows. The kernels are in native/, where onnxruntime is told of them.
 */
import type { Graph } from "../graph.ts";
import { ownAttention } from "./attention.ts";
import { ownGates } from "./gates.ts";
import { ownNorms } from "./norms.ts";
import { ownReductions } from "./reductions.ts";

const PASSES: readonly ((graph: Graph) => Graph)[] = [ownGates, ownReductions, ownNorms, ownAttention];

/** The graph in which whatever we have an op of our own for is that op. */
export function useOwnOps(graph: Graph): Graph {
  return PASSES.reduce((changed, pass) => pass(changed), graph);
}
