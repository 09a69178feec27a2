/**
 * One walk over the nodes tells how every value lies. Each product with a whole input tries to open a cut; what follows
 * carries the cut until a row-parallel product, or the logits, closes it. A cut that nothing closes was not worth opening:
 * it would cost a gather and save no allReduce. Such products are refused, with the reason, and the walk begins again.
 * It ends, for every walk but the last refuses one product more.
 */
import { PartitionError } from "../errors.ts";
import type { Graph, GraphNode, GraphValue } from "../model/graph.ts";
import { readIntegers } from "./constants.ts";
import { Cuts, type Cut } from "./cut.ts";
import { REPLICATE, whole, type Flow, type Layout, type Operand, type Rule, type ShardLayout } from "./rule.ts";
import { inferShapes, type Shape } from "./shapes.ts";
import { TABLE } from "./table.ts";

/** What a walk found out. */
export interface Walk {
  readonly cuts: Cuts;
  readonly shapes: ReadonlyMap<string, Shape>;
  /** How each value lies where it is produced. */
  readonly layouts: ReadonlyMap<string, Layout>;
  /** What the rules said, one per node. */
  readonly flows: readonly Flow[];
  /** The values that someone reads whole though they do not lie so. */
  readonly madeWhole: ReadonlySet<string>;
}

/** A cut axis that had to be made whole, and why. */
interface Gathered {
  readonly cut: Cut;
  readonly reason: string;
  /** Whether it cannot be: the axis repeats indices, or belongs to a cache. */
  readonly impossible: boolean;
}

/** Graph inputs that each rank holds its own shard of from the start. */
export function isCacheInput(name: string): boolean {
  return name.startsWith("past_key_values.");
}

/** Graph outputs that stay cut: the caches, and the logits along the vocabulary, which execute/ gathers. */
export function mayStayCut({ name, shape }: GraphValue, { axis, cut }: ShardLayout, cuts: Cuts): boolean {
  return name.startsWith("present.") || (name === "logits" && axis === shape.length - 1 && cuts.isContiguous(cut));
}

/** How every value of the graph lies, for a world of this size. */
export function propagate(graph: Graph, worldSize: number): Walk {
  const shapes = inferShapes(graph);
  const refusals = new Map<GraphNode, string>();
  if (worldSize === 1) for (const node of graph.nodes) refusals.set(node, "one rank holds everything");
  for (;;) {
    const { walk, refused } = walkOnce(graph, shapes, worldSize, refusals);
    if (refused.size === 0) return walk;
    for (const [node, reason] of refused) refusals.set(node, reason);
  }
}

function walkOnce(
  graph: Graph,
  shapes: ReadonlyMap<string, Shape>,
  worldSize: number,
  refusals: ReadonlyMap<GraphNode, string>,
): { walk: Walk; refused: ReadonlyMap<GraphNode, string> } {
  const cuts = new Cuts();
  const layouts = new Map<string, Layout>(graph.inputs.map(({ name }) => [name, REPLICATE]));
  const unreadCaches = new Set(graph.inputs.map(({ name }) => name).filter(isCacheInput));
  const flows: Flow[] = [];
  const gathered: Gathered[] = [];
  const madeWhole = new Set<string>();

  const makeWhole = (value: string, reason: string): void => {
    const layout = layouts.get(value) ?? REPLICATE;
    if (layout.kind !== "Replicate") madeWhole.add(value);
    if (layout.kind === "Shard") gathered.push({ cut: layout.cut, reason, impossible: isCacheInput(value) });
  };

  for (const node of graph.nodes) {
    const inputs = node.inputs.map((name): Operand => {
      const weight = graph.weights.get(name);
      if (name !== "" && weight === undefined && !layouts.has(name)) throw unknownValue(node, name);
      return {
        name,
        shape: shapes.get(name),
        layout: layouts.get(name) ?? REPLICATE,
        free: weight !== undefined || unreadCaches.has(name),
        values: readIntegers(weight),
      };
    });
    const flow = ruleFor(node)({ node, inputs, cuts, worldSize, refusal: refusals.get(node) });
    flows.push(flow);
    node.inputs.forEach((name, i) => {
      const read = flow.reads[i] ?? REPLICATE;
      if (unreadCaches.delete(name)) layouts.set(name, read);
      else if (read.kind === "Replicate") makeWhole(name, `${describe(node)}: ${flow.reason ?? "needs it whole"}`);
    });
    node.outputs.forEach((name, i) => {
      if (name !== "") layouts.set(name, flow.writes[i] ?? REPLICATE);
    });
  }

  const keptCut: Cut[] = [];
  for (const output of graph.outputs) {
    const layout = layouts.get(output.name) ?? REPLICATE;
    if (layout.kind === "Shard" && mayStayCut(output, layout, cuts)) keptCut.push(layout.cut);
    else makeWhole(output.name, `graph output "${output.name}" is whole on every rank`);
  }
  const walk = { cuts, shapes, layouts, flows, madeWhole };
  return { walk, refused: findRefused(graph, walk, gathered, keptCut) };
}

/** The products whose cut nothing closes, or whose cut would have to be summed or gathered though it repeats indices. */
function findRefused(
  graph: Graph,
  { cuts, flows }: Walk,
  gathered: readonly Gathered[],
  keptCut: readonly Cut[],
): ReadonlyMap<GraphNode, string> {
  const closed = [...keptCut, ...flows.flatMap((flow) => (flow.closes === undefined ? [] : [flow.closes]))];
  const repeated = closed.filter((cut) => !keptCut.includes(cut) && cuts.repeats(cut));
  const refused = new Map<GraphNode, string>();
  flows.forEach(({ opens }, i) => {
    if (opens === undefined) return;
    const related = gathered.filter(({ cut }) => cuts.areRelated(cut, opens));
    const impossible = related.find(({ cut, impossible }) => impossible || cuts.repeats(cut));
    if (impossible !== undefined) refused.set(graph.nodes[i]!, impossible.reason);
    else if (repeated.some((cut) => cuts.areRelated(cut, opens))) {
      refused.set(graph.nodes[i]!, "a product would add up key/value heads that several ranks hold");
    } else if (!closed.some((cut) => cuts.areRelated(cut, opens))) {
      refused.set(graph.nodes[i]!, related[0]?.reason ?? "no row-parallel product follows");
    }
  });
  return refused;
}

/** Ops that would give every rank other numbers: replicating them would be silently wrong. */
const RANDOM_OPS = [
  "Bernoulli",
  "Multinomial",
  "RandomNormal",
  "RandomNormalLike",
  "RandomUniform",
  "RandomUniformLike",
];

function ruleFor(node: GraphNode): Rule {
  const rule = TABLE[node.opType];
  if (rule !== undefined) return rule;
  if (RANDOM_OPS.includes(node.opType)) {
    throw new PartitionError(
      `Partitioning ${describe(node)} failed: it draws random numbers, which would differ on every rank. ` +
        `Draw them outside the graph and hand them in as an input.`,
    );
  }
  return (step) => whole(step, `${node.opType} has no rule`);
}

function unknownValue(node: GraphNode, name: string): PartitionError {
  return new PartitionError(
    `Partitioning ${describe(node)} failed: its input "${name}" is no graph input, weight or output of an earlier node. ` +
      `Put the nodes in topological order.`,
  );
}

function describe(node: GraphNode): string {
  return `node "${node.name}" (${node.opType})`;
}
