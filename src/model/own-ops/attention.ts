/** Attention that never has the square of scores in memory: GroupQueryAttention becomes CachedAttention. */
import { InternalError } from "../../errors.ts";
import type { Attribute, Graph, GraphNode } from "../graph.ts";

const integer = (value: number): Attribute => ({ kind: "int", value });

/** The graph with attention as native/onnxruntime/attention_ops.h has it. */
export function ownAttention(graph: Graph): Graph {
  const nodes = graph.nodes.map((node) => (node.opType === "GroupQueryAttention" ? replace(node, graph) : node));
  return { ...graph, nodes };
}

/** The cache holds every head; `scale` is always given. */
function replace(node: GraphNode, { inputs, weights }: Graph): GraphNode {
  const [query = "", key = "", value = "", pastKey = "", pastValue = "", seqlens = "", , ...tables] = node.inputs;
  const { num_heads, kv_num_heads, group_size, first_head, scale, softcap, local_window_size } = node.attributes;
  const headDim = inputs.find(({ name }) => name === pastKey)?.shape[3];
  if (num_heads?.kind !== "int" || kv_num_heads?.kind !== "int" || scale === undefined || typeof headDim !== "number") {
    throw new InternalError(`Attention "${node.name}" does not say what its heads are like.`);
  }
  const rotaryDim = 2 * (weights.get(tables[0] ?? "")?.shape[1] ?? 0);
  return {
    ...node,
    opType: "CachedAttention",
    domain: "shardrun",
    inputs: [query, key, value, pastKey, pastValue, seqlens, ...tables],
    attributes: {
      num_heads,
      kv_num_heads,
      group_size: group_size ?? integer(num_heads.value / kv_num_heads.value),
      first_head: first_head ?? integer(0),
      head_dim: integer(headDim),
      rotary_dim: integer(rotaryDim),
      scale,
      softcap: softcap ?? { kind: "float", value: 0 },
      local_window_size: local_window_size ?? integer(0),
    },
  };
}
