/** Which norms become ops of our own, and which stay onnxruntime's. */
import { expect, test } from "@jest/globals";
import { loadModel } from "../../../../src/model/model.ts";
import { ownNorms } from "../../../../src/model/own-ops/norms.ts";
import { graph, node, value } from "../../../support/tiny-graph.ts";
import { TINY_GPT2, TINY_LLAMA, writeTemporaryCheckpoint } from "../../../support/write-checkpoint.ts";

const norms = (nodes: readonly { readonly opType: string }[]): string[] =>
  nodes.map(({ opType }) => opType).filter((opType) => opType.includes("Norm"));

test("a Llama's norms", async () => {
  const directory = writeTemporaryCheckpoint({ config: { ...TINY_LLAMA, num_hidden_layers: 1 } });
  const { graph: model } = await loadModel(directory, { computeType: "float32" });
  const owned = ownNorms(model);
  expect(norms(owned.nodes)).toEqual(["RmsNorm", "AddRmsNorm", "AddRmsNorm"]);
  const name = "layers.0.post_attention_layernorm";
  const before = model.nodes.find((found) => found.name === name)!;
  expect(owned.nodes.find((found) => found.name === name)).toEqual({
    ...before,
    opType: "AddRmsNorm",
    domain: "shardrun",
    outputs: [name, `${name}.residual`],
    attributes: { epsilon: before.attributes.epsilon },
  });
});

test("GPT-2's subtract a mean", async () => {
  const { graph: model } = await loadModel(writeTemporaryCheckpoint({ config: TINY_GPT2 }), { computeType: "float32" });
  expect(ownNorms(model)).toEqual(model);
});

test.each([
  node("SimplifiedLayerNormalization", ["x", "w"], ["y"], { axis: 1, epsilon: 0.001 }),
  node("SimplifiedLayerNormalization", ["x", "w"], ["y", "deviation"], { axis: -1, epsilon: 0.001 }),
  node("SkipSimplifiedLayerNormalization", ["x", "x", "w", "bias"], ["y", "", "", "sum"], { epsilon: 0.001 }),
  node("SkipSimplifiedLayerNormalization", ["x", "x", "w"], ["y", "", "deviation", "sum"], { epsilon: 0.001 }),
  node("SkipSimplifiedLayerNormalization", ["x", "x", "w"], ["y"], { epsilon: 0.001 }),
])("not this: %j", (which) => {
  const plain = graph({ inputs: [value("x", ["B", "S", 4])], outputs: [value("y", ["B", "S", 4])], nodes: [which] });
  expect(ownNorms(plain)).toEqual(plain);
});
