/** The feed-forward of a layer: gate|up in one product, whose two halves come together again element by element; or one wide product. */
import { addActivation } from "../activation.ts";
import { addProduct, stackTensors, type DecoderParts } from "./parts.ts";

/** x: [B, S, D] -> [B, S, D] */
export function addFeedForward(parts: DecoderParts, layer: number, x: string): string {
  const { feedForward } = parts.design;
  const name = `layers.${layer}`;
  if (feedForward === "gated") return addDown(parts, name, "down_proj", addGated(parts, name, x));
  return addDown(parts, name, feedForward.down, addPlain(parts, name, feedForward.up, x));
}

/** x: [B, S, D] -> gate|up: [B, S, 2F] -> activation(gate) * up: [B, S, F] */
function addGated(parts: DecoderParts, name: string, x: string): string {
  const { graph, design, sizes, prefix } = parts;
  const { hiddenSize, intermediateSize } = sizes;
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
  return graph.multiply(`${name}.gated`, opened, up!);
}

/** x: [B, S, D] -> activation(up): [B, S, F] */
function addPlain(parts: DecoderParts, name: string, projection: string, x: string): string {
  const { graph, design, sizes } = parts;
  const up = addOne(parts, name, projection, x, [sizes.intermediateSize, sizes.hiddenSize]);
  return addActivation(graph, `${name}.activation`, design.activation, up);
}

/** [B, S, F] -> [B, S, D] */
function addDown(parts: DecoderParts, name: string, projection: string, x: string): string {
  return addOne(parts, name, projection, x, [parts.sizes.hiddenSize, parts.sizes.intermediateSize]);
}

function addOne(parts: DecoderParts, name: string, projection: string, x: string, sizes: [number, number]): string {
  const stored = `${parts.prefix}${name}.mlp.${projection}`;
  return addProduct(parts, x, {
    name: `${name}.${projection}`,
    stored,
    sizes,
    bias: parts.design.biases.feedForward,
    source: (kind, columns) => parts.checkpoint.tensor(`${stored}.${kind}`, [sizes[0], ...columns]),
  });
}
