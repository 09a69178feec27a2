/**
 * One walk over the nodes of a graph: every rule is asked how its node's inputs are read and its outputs lie. Each product
 * with a whole input opens a cut unless it is refused one; whatever is read otherwise than it lies is noted as made whole.
 */
import { PartitionError } from "../errors.ts";
import type { Graph, GraphNode, GraphValue } from "../model/graph.ts";
import { readIntegers } from "../model/constants.ts";
import { Cuts, type Cut } from "./cut.ts";
import { REPLICATE, whole, type Layout, type Operand, type Rule, type ShardLayout, type Step } from "./rule.ts";
import type { Shape } from "./shapes.ts";
import { TABLE } from "./table.ts";

/** What a walk found out. */
export interface Walk {
  readonly cuts: Cuts;
  /** How each value lies where it is produced. */
  readonly layouts: ReadonlyMap<string, Layout>;
  /** The nodes in their order, and what the rules said of each. */
  readonly steps: readonly WalkStep[];
  /** The cuts that are not made whole at the end: caches and logits. */
  readonly keptCut: readonly Cut[];
  /** The cuts that are made whole on the way. */
  readonly gathered: readonly Gathered[];
  /** The values that someone reads whole though they do not lie so. */
  readonly madeWhole: ReadonlySet<string>;
  /** How the graph output `logits` lies, if it stays cut. */
  readonly logits: ShardLayout | undefined;
}

/** A node of the walk, and the graph's node for which it stands. */
export interface WalkStep extends Step {
  readonly origin: GraphNode;
}

/** A cut axis that had to be made whole, and why. */
export interface Gathered {
  readonly cut: Cut;
  readonly reason: string;
  /** A cache is never gathered. */
  readonly isCache: boolean;
}

/** Graph inputs that each rank holds its own shard of from the start. */
function isCacheInput(name: string): boolean {
  return name.startsWith("past_key_values.");
}

/** Graph outputs that stay cut: the caches, and the logits along the vocabulary, which execute/ gathers. */
function mayStayCut({ name, shape }: GraphValue, { axis, cut }: ShardLayout, cuts: Cuts): boolean {
  return name.startsWith("present.") || (name === "logits" && axis === shape.length - 1 && cuts.isContiguous(cut));
}

/**
 * Asks every node's rule, in topological order.
 * @param refusals products that must not open a cut, and why
 */
export function walkOnce(
  graph: Graph,
  shapes: ReadonlyMap<string, Shape>,
  worldSize: number,
  refusals: ReadonlyMap<GraphNode, string>,
): Walk {
  const cuts = new Cuts();
  const layouts = new Map<string, Layout>(graph.inputs.map(({ name }) => [name, REPLICATE]));
  const unreadCaches = new Set(graph.inputs.map(({ name }) => name).filter(isCacheInput));
  const steps: WalkStep[] = [];
  const gathered: Gathered[] = [];
  const madeWhole = new Set<string>();

  const makeWhole = (value: string, reason: string): void => {
    const layout = layouts.get(value) ?? REPLICATE;
    if (layout.kind !== "Replicate") madeWhole.add(value);
    if (layout.kind === "Shard") gathered.push({ cut: layout.cut, reason, isCache: isCacheInput(value) });
  };

  const take = (step: WalkStep): void => {
    const { node, flow } = step;
    steps.push(step);
    node.inputs.forEach((name, i) => {
      const read = flow.reads[i] ?? REPLICATE;
      if (unreadCaches.delete(name)) layouts.set(name, read);
      else if (read.kind === "Replicate") makeWhole(name, `${describe(node)}: ${flow.reason ?? "needs it whole"}`);
    });
    node.outputs.forEach((name, i) => {
      if (name !== "") layouts.set(name, flow.writes[i] ?? REPLICATE);
    });
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
    for (const step of flow.becomes ?? [{ node, flow }]) take({ ...step, origin: node });
  }

  const keptCut: Cut[] = [];
  for (const output of graph.outputs) {
    const layout = layouts.get(output.name) ?? REPLICATE;
    if (layout.kind === "Shard" && mayStayCut(output, layout, cuts)) keptCut.push(layout.cut);
    else makeWhole(output.name, `graph output "${output.name}" is whole on every rank`);
  }
  const last = madeWhole.has("logits") ? undefined : layouts.get("logits");
  const logits = last?.kind === "Shard" ? last : undefined;
  return { cuts, layouts, steps, keptCut, gathered, madeWhole, logits };
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
  return (op) => whole(op, `${node.opType} has no rule`);
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
