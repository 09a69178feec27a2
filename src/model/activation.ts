/** The activations of feed-forward layers, by the words of config.json; a file of its own because gated and plain ones share them. */
import type { GraphBuilder } from "./graph-builder.ts";

/** What transformers calls them. */
export const ACTIVATIONS = ["silu", "gelu", "gelu_new", "gelu_pytorch_tanh", "relu"] as const;

export type Activation = (typeof ACTIVATIONS)[number];

/** Adds one activation of any x. */
export function addActivation(graph: GraphBuilder, name: string, activation: Activation, x: string): string {
  switch (activation) {
    case "silu":
      return graph.silu(name, x);
    case "gelu":
      return graph.gelu(name, x, "none");
    case "gelu_new":
    case "gelu_pytorch_tanh":
      return graph.gelu(name, x, "tanh");
    case "relu":
      return graph.relu(name, x);
  }
}
