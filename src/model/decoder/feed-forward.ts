/** The gated feed-forward of the Llama line: gate|up in one product, whose two halves come together again element by element. */
import { addActivation } from "../activation.ts";
import { addProduct, stackTensors, type DecoderParts } from "./parts.ts";

/** x: [B, S, D] -> gate|up: [B, S, 2F] -> activation(gate) * up: [B, S, F] -> [B, S, D] */
export function addFeedForward(parts: DecoderParts, layer: number, x: string): string {
  const { graph, checkpoint, design, sizes, prefix } = parts;
  const { hiddenSize, intermediateSize } = sizes;
  const name = `layers.${layer}`;
  const module = `${prefix}${name}.mlp`;
  const both = addProduct(parts, x, {
    name: `${name}.gate_up_proj`,
    stored: `${module}.gate_up_proj`,
    sizes: [2 * intermediateSize, hiddenSize],
    bias: design.biases.feedForward,
    source: stackTensors(parts, module, "gate_up_proj", { gate_proj: intermediateSize, up_proj: intermediateSize }),
  });
  const halves = [intermediateSize, intermediateSize];
  const [gate, up] = graph.split(`${name}.split_gate_up`, both, halves, [`${name}.gate`, `${name}.up`]);
  const opened = addActivation(graph, `${name}.activation`, design.activation, gate!);
  return addProduct(parts, graph.multiply(`${name}.gated`, opened, up!), {
    name: `${name}.down_proj`,
    stored: `${module}.down_proj`,
    sizes: [hiddenSize, intermediateSize],
    bias: design.biases.feedForward,
    source: (kind, columns) => checkpoint.tensor(`${module}.down_proj.${kind}`, [hiddenSize, ...columns]),
  });
}
