/**
 * (graph, plan, rank) -> the graph that this rank runs: local weights, local head counts, and the collectives of the plan as
 * nodes of domain `shardrun`. Every rank calls the same collectives in the same order: a token goes from each to the next,
 * so that no scheduler can exchange them. Nodes of which a rank holds nothing are left out; who needs their results reads zeros.
 */
import type { Graph, GraphNode, GraphValue, Weight } from "../model/graph.ts";
import { packedAttributes } from "../model/packed-layout.ts";
import { integerConstant } from "../model/constants.ts";
import {
  cutWeight,
  localShape,
  wayOfReading,
  type CollectivePlan,
  type NodePlan,
  type Plan,
  type Sharding,
} from "./plan.ts";
import { countIndices, orderOfGathered } from "./runs.ts";
import { Zeros } from "./zeros.ts";
import { int, node } from "./write-node.ts";

/**
 * One rank's shard of the graph.
 * @param plan what `partition` gave for this very graph
 */
export function shardGraph(graph: Graph, plan: Plan, rank: number): Graph {
  return new ShardWriter(graph, plan, rank).write();
}

/** Writes one rank's graph node by node; the state is what has been written so far. */
class ShardWriter {
  readonly #graph: Graph;
  readonly #plan: Plan;
  readonly #rank: number;
  readonly #nodes: GraphNode[] = [];
  readonly #weights = new Map<string, Weight>();
  readonly #zeros: Zeros;
  /** The collectives inside the graph, by the value they make whole. */
  readonly #collectives: ReadonlyMap<string, CollectivePlan>;
  /** Names of weights here, by the way of reading them. */
  readonly #localNames: ReadonlyMap<string, string>;
  /** Values whose nodes are left out here. */
  readonly #leftOut = new Set<string>();
  /** The token of the last collective. */
  #token: string | undefined;

  constructor(graph: Graph, plan: Plan, rank: number) {
    this.#graph = graph;
    this.#plan = plan;
    this.#rank = rank;
    this.#zeros = new Zeros(this.#localInputs(), this.#nodes, this.#weights);
    const insideGraph = plan.collectives.filter((collective) => collective.insideGraph);
    this.#collectives = new Map(insideGraph.map((collective) => [collective.value, collective]));
    this.#localNames = new Map(
      plan.weights.map(({ weight, sharding, localName }) => [wayOfReading(weight, sharding), localName]),
    );
  }

  write(): Graph {
    for (const plan of this.#plan.nodes) {
      const { outputs } = plan.node;
      if (this.#holdsNothingOf(plan)) for (const output of outputs) this.#leftOut.add(output);
      else this.#nodes.push(this.#localNode(plan));
      for (const output of outputs) this.#makeWhole(output);
    }
    return {
      name: `${this.#graph.name}, rank ${this.#rank} of ${this.#plan.worldSize}`,
      inputs: this.#localInputs(),
      outputs: this.#localOutputs(),
      nodes: this.#nodes,
      weights: this.#weights,
    };
  }

  /** Whether a node gives a shard or a summand, of cut values or weights of which none has an index here. */
  #holdsNothingOf({ inputs, outputs }: NodePlan): boolean {
    const cut = inputs.filter((sharding) => sharding.kind === "Shard");
    const givesWhole = outputs.every((sharding) => sharding.kind === "Replicate");
    return cut.length > 0 && !givesWhole && cut.every((sharding) => this.#isEmpty(sharding));
  }

  #isEmpty(sharding: Sharding | undefined): boolean {
    return sharding?.kind === "Shard" && countIndices(sharding.runs[this.#rank] ?? []) === 0;
  }

  #localNode(plan: NodePlan): GraphNode {
    const { node } = plan;
    const inputs = node.inputs.map((name, i) => this.#read(name, plan.inputs[i]!));
    for (const [index, perRank] of Object.entries(plan.constants)) {
      const name = `${node.name}/constant${index}`;
      this.#weights.set(name, integerConstant(name, perRank[this.#rank] ?? []));
      inputs[Number(index)] = name;
    }
    const attributes = { ...node.attributes, ...this.#packedAttributes(inputs) };
    for (const [name, perRank] of Object.entries(plan.attributes)) attributes[name] = int(perRank[this.#rank] ?? 0);
    if (node.opType === "Split" && inputs.length > 1) delete attributes.num_outputs;
    return { ...node, inputs, outputs: node.outputs.map((name) => this.#producedName(name)), attributes };
  }

  /** What a kernel must know of the packed matrix that it reads. */
  #packedAttributes(inputs: readonly string[]): GraphNode["attributes"] {
    const packed = inputs.map((name) => this.#weights.get(name)).find((weight) => weight?.packing !== undefined);
    return packed === undefined ? {} : packedAttributes(packed);
  }

  /** The name under which a node reads a value or weight in this sharding. */
  #read(name: string, sharding: Sharding): string {
    if (name === "") return "";
    if (this.#graph.weights.has(name)) return this.#localWeight(name, sharding);
    if (sharding.kind === "Replicate") return name;
    return this.#leftOut.has(name) ? this.#zerosFor(name) : this.#producedName(name);
  }

  #localWeight(name: string, sharding: Sharding): string {
    const localName = this.#localNames.get(wayOfReading(name, sharding)) ?? name;
    const weight = this.#graph.weights.get(name)!;
    this.#weights.set(localName, { ...cutWeight(weight, sharding, this.#rank), name: localName });
    return localName;
  }

  /** A value that a collective makes whole keeps its name for the whole; what its node produces here gets another. */
  #producedName(value: string): string {
    if (!this.#collectives.has(value)) return value;
    return `${value}/${this.#sharding(value).kind === "Partial" ? "partial" : "shard"}`;
  }

  #makeWhole(value: string): void {
    const plan = this.#collectives.get(value);
    if (plan === undefined) return;
    const sharding = this.#sharding(value);
    const order = sharding.kind === "Shard" ? orderOfGathered(sharding.runs) : undefined;
    const output = order === undefined ? value : `${value}/gathered`;
    this.#nodes.push(this.#collective(plan, sharding, output));
    if (sharding.kind !== "Shard" || order === undefined) return;
    const indices = integerConstant(`${value}/order`, order);
    this.#weights.set(indices.name, indices);
    this.#nodes.push(node("Gather", value, [output, indices.name], { axis: int(sharding.axis) }));
  }

  /** The collective after a node; its label for errors is the name of the graph's node. */
  #collective({ value, kind, node: label }: CollectivePlan, sharding: Sharding, output: string): GraphNode {
    const input = this.#leftOut.has(value) ? this.#zerosFor(value) : this.#producedName(value);
    const inputs = this.#token === undefined ? [input] : [input, this.#token];
    this.#token = `${value}/token`;
    return {
      name: `${value}/${kind}`,
      opType: kind === "allReduce" ? "AllReduce" : "AllGather",
      domain: "shardrun",
      inputs,
      outputs: [output, this.#token],
      attributes: {
        ...(sharding.kind === "Shard"
          ? { axis: int(sharding.axis), sizes: { kind: "ints", value: sharding.runs.map(countIndices) } }
          : { op: { kind: "string", value: "sum" } }),
        label: { kind: "string", value: label },
      },
    };
  }

  /** What stands for a value whose node is left out: a summand of zeros, or a shard without indices. */
  #zerosFor(value: string): string {
    const shape = this.#plan.shapes.get(value);
    const sharding = this.#sharding(value);
    const localSizes = shape && localShape(shape, sharding, this.#rank);
    const dataType = sharding.kind === "Partial" ? sharding.dataType : "float32";
    return this.#zeros.inPlaceOf(value, localSizes, dataType, this.#rank);
  }

  /** Graph inputs with this rank's sizes, without the caches of which it holds no heads. */
  #localInputs(): GraphValue[] {
    return this.#graph.inputs
      .filter(({ name }) => !this.#isEmpty(this.#sharding(name)))
      .map((input) => this.#localValue(input));
  }

  /** Graph outputs alike; but the logits are there on every rank, without entries where it holds no vocabulary. */
  #localOutputs(): GraphValue[] {
    return this.#graph.outputs.flatMap((output) => {
      const { name } = output;
      if (this.#collectives.has(name)) return [output];
      if (this.#leftOut.has(name) && name !== "logits") return [];
      if (this.#leftOut.has(name)) this.#nodes.push(node("Identity", name, [this.#zerosFor(name)], {}));
      return [this.#localValue(output)];
    });
  }

  #localValue(value: GraphValue): GraphValue {
    return { ...value, shape: localShape(value.shape, this.#sharding(value.name), this.#rank) };
  }

  #sharding(value: string): Sharding {
    return this.#plan.values.get(value) ?? { kind: "Replicate" };
  }
}
