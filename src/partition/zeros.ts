/**
 * Zeros for a rank that holds nothing of a node: it must still hand a summand, or a shard without indices, to the collective
 * that follows. Sizes that only a step knows are taken from the graph inputs that have them; equal shapes share one tensor.
 */
import { PartitionError } from "../errors.ts";
import type { Dimension, GraphNode, GraphValue, Weight } from "../model/graph.ts";
import { integerConstant } from "../model/constants.ts";
import { int, node } from "./write-node.ts";

/** int32 in ONNX's numbering of types. */
const ONNX_INT32 = 6;

/** Writes tensors of zeros into a graph under way. */
export class Zeros {
  readonly #inputs: readonly GraphValue[];
  readonly #nodes: GraphNode[];
  readonly #weights: Map<string, Weight>;
  readonly #written = new Set<string>();

  /** @param inputs the graph inputs that this rank has; `nodes` and `weights` are appended to */
  constructor(inputs: readonly GraphValue[], nodes: GraphNode[], weights: Map<string, Weight>) {
    this.#inputs = inputs;
    this.#nodes = nodes;
    this.#weights = weights;
  }

  /**
   * The name of a tensor of zeros in place of `value`.
   * @throws {PartitionError} when a size of the shape cannot be found.
   */
  inPlaceOf(
    value: string,
    shape: readonly Dimension[] | undefined,
    dataType: "float32" | "int32",
    rank: number,
  ): string {
    const name = `zeros[${shape?.join(",")}]`;
    if (dataType === "int32") {
      this.#write(`${name}/int32`, "Cast", [this.inPlaceOf(value, shape, "float32", rank)], { to: int(ONNX_INT32) });
      return `${name}/int32`;
    }
    if (this.#written.has(name)) return name;
    const sizes = shape?.map((size) => this.#sizeName(size));
    if (!sizes?.every((size) => size !== undefined)) {
      throw new PartitionError(
        `Sharding the graph for rank ${rank} failed: the rank holds nothing of "${value}" ` +
          `${shape === undefined ? "of unknown shape" : `[${shape.join(", ")}]`}, and no graph input tells the size of the zeros ` +
          `to stand for it. Use fewer ranks.`,
        { rank },
      );
    }
    this.#write(`${name}/shape`, "Concat", sizes, { axis: int(0) });
    this.#write(name, "ConstantOfShape", [`${name}/shape`], {});
    return name;
  }

  /** An int64 tensor [1] that holds one size. */
  #sizeName(size: Dimension): string | undefined {
    const name = `size[${size}]`;
    if (typeof size === "number") {
      this.#weights.set(name, integerConstant(name, [size]));
      return name;
    }
    const input = this.#inputs.find(({ shape }) => shape.includes(size));
    if (input === undefined) return undefined;
    const axis = input.shape.indexOf(size);
    this.#write(name, "Shape", [input.name], { start: int(axis), end: int(axis + 1) });
    return name;
  }

  #write(output: string, opType: string, inputs: readonly string[], attributes: GraphNode["attributes"]): void {
    if (this.#written.has(output)) return;
    this.#written.add(output);
    this.#nodes.push(node(opType, output, inputs, attributes));
  }
}
